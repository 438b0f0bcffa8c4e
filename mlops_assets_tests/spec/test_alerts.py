import pytest
from pydantic import ValidationError

from mlops_assets.spec.alerts import Alerting


def test_the_spec_names_a_variable_and_never_a_url():
    assert Alerting().urls_env == "MLOPS_ALERT_URLS"
    assert Alerting(urls_env="TEAM_ALERTS").urls_env == "TEAM_ALERTS"
    for url in ("slack://token@channel", "", "A B"):
        with pytest.raises(ValidationError, match="urls_env"):
            Alerting(urls_env=url)
