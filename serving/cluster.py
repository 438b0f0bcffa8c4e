"""The application on a Ray cluster: `import_path: serving.cluster:build` in a serveConfigV2.

On one machine `python -m serving` starts Ray and is the follower too. On a cluster somebody else
starts Ray (KubeRay), HAProxy and throughput mode come from the pods' environment, and every node
with replicas runs `python -m serving.sidecar`, because bundles and pointer are files of the node.
"""

from collections.abc import Mapping
from typing import Any

from mlops_assets.domain.errors import MlopsError
from mlops_assets.settings import Settings
from serving import environment


def build(arguments: Mapping[str, Any]) -> Any:
    """The bound Serve application for the settings in the environment.

    Replicas, autoscaling and resources belong into the serveConfigV2, which overrides what
    `serving.app` sets for one machine. Takes no arguments; raises MlopsError when it is given
    any, or when a token is missing, as pods always are within the network's reach.
    """
    from serving.app import application

    if arguments:
        raise MlopsError(
            f"serving.cluster:build takes no args, and got {sorted(arguments)}: set MLOPS_* "
            "variables in the pods instead."
        )
    settings = Settings.load()
    environment.check_address(settings)
    return application(settings)
