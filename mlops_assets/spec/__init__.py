"""All that a model's `defs.yaml` may say, a module per section.

Each field carries the description that users read in the component's documentation. What one
field cannot know alone (a label among the features, a slice over an undeclared column, a window
longer than its history) is checked by `rules.problems`, and what the rows themselves say by
`data.findings`; both name the place in the file.
"""

from mlops_assets.spec.model import Model, ModelSpec

__all__ = ["Model", "ModelSpec"]
