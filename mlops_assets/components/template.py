"""What `dg scaffold defs mlops_assets.components.TabularModel NAME` writes."""

import dagster as dg
from dagster.components.component_scaffolding import scaffold_component

from mlops_assets.domain.errors import SpecError

# A spec that loads once its capitals are replaced; `mlops new` fills it in from the data.
TEMPLATE = """\
# A model: where its rows come from, what it predicts, and how it is kept good. Replace what is in
# capitals, then run `mlops check {name}`. `mlops new` drafts this file from a table instead.
type: {type}

attributes:
  task: binary  # or multiclass, or regression
  description: ""  # what is the model for?
  # owner: team:name  # who answers for it: an e-mail address, or team:name
  # parquet, csv, delta: {{kind, path}}; sql: {{kind, url_env, table}}; duckdb: {{kind, query}};
  # python: {{kind, file, function}}. Paths are relative to this folder.
  source: {{kind: parquet, path: ROWS.parquet}}
  entity: ENTITY_ID  # whom a row is about; unique together with the event time
  event_time: EVENT_TIME  # when the prediction is asked for, in UTC
  # known_at names the column that says when the truth came; or known_after: P1D.
  label: {{column: LABEL, known_at: LABEL_TIME}}
  period: {{every: weekly, start: 2026-01-05}}  # hourly, daily, … yearly
  columns:  # only what is known at the event
    A_NUMBER: {{type: number, min: 0, max: 100, nullable: true}}
    A_CATEGORY: {{type: category, categories: [one, two]}}
    A_SHORT_ONE: integer?  # number, integer, category or boolean; ? if it may be missing
  training:
    window: {{min: 4}}  # periods; the two after them choose a candidate, the newest two judge it
    validation: 2
    holdout: 2
    candidates:
      - estimator: hist_gradient_boosting
        grid: [{{learning_rate: [0.05, 0.1]}}]
  gates:
    minimum: {{roc_auc: 0.6}}  # what a challenger must reach on the holdout
  monitoring:
    wait: P1D  # after a period's end, until its labels are judged
"""


class TabularModelScaffolder(dg.Scaffolder):
    """Writes a commented defs.yaml with every section that a first model needs."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        """Write the template; a format other than YAML, or a second model in a file, is refused."""
        path = request.target_path / "defs.yaml"
        if request.append or path.exists():
            raise SpecError(f"{path} is there already: a folder holds one model, named like it.")
        if request.scaffold_format != "yaml":
            scaffold_component(request, {})
            return
        text = TEMPLATE.format(name=request.target_path.name, type=request.type_name)
        path.write_text(text, encoding="utf-8")
