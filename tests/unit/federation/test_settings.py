"""Settings: texts become values; what is wrong is named."""

import pytest

from kehefl.errors import UsageError
from kehefl.federation.settings import RunSettings, parse_settings


def test_aliases_units_and_percentages() -> None:
    settings = parse_settings({"epochs": "5", "lr": "0.1", "deadline": "2min", "quorum": "80%", "late": "next-round"})
    assert (settings.local_epochs, settings.learning_rate, settings.deadline) == (5, 0.1, 120.0)
    assert (settings.quorum, settings.late) == (0.8, "next-round")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"ruonds": "3"}, "Did you mean 'rounds'"),
        ({"rounds": "0"}, "'rounds=0' cannot be used"),
        ({"rounds": "many"}, "'rounds=many' cannot be used"),
        ({"late": "never"}, "'late=never' cannot be used"),
        ({"quorum": "0"}, "'quorum=0' cannot be used"),
        ({"learning_rate": "nan"}, "'learning_rate=nan' cannot be used"),
        ({"deadline": "inf"}, "'deadline=inf' cannot be used"),
        ({"deadline": "5weeks"}, "'deadline=5weeks' cannot be used"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_settings(values)


@pytest.mark.parametrize(
    ("quorum", "members", "needed"), [(0.5, 4, 2), (0.5, 5, 3), (0.8, 10, 8), (3.0, 10, 3), (1.0, 7, 7), (0.1, 1, 1)]
)
def test_a_quorum_is_a_share_up_to_one_and_a_count_above(quorum: float, members: int, needed: int) -> None:
    assert RunSettings(quorum=quorum).needed(members) == needed
