"""Topic names, and ids that can be a level of one."""

import pytest

from kehefl.errors import UsageError
from kehefl.protocol.topics import DeviceTopic, Topics, check_id


@pytest.mark.parametrize("bad", ["", "pi+3", "lab/pi", "PI-03", "pi#", "x" * 65, "pi 3", "päi"])
def test_ids_that_could_break_a_topic_are_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="cannot be a device id"):
        check_id(bad)


def test_the_refusal_proposes_an_id() -> None:
    with pytest.raises(UsageError, match="for example 'lab-pi-3'"):
        check_id("Lab/Pi+3")


def test_device_topics_come_apart_as_they_were_put_together() -> None:
    topics = Topics("demo", "lab/kehefl")
    assert topics.round == "lab/kehefl/v1/demo/round"
    assert topics.parse_device(topics.upload("pi-1", "r1", 3, 0)) == DeviceTopic("pi-1", "up", ("r1", "3", "0"))
    assert topics.parse_device(topics.round) is None
    assert topics.parse_model(topics.model("ab", 2)) == ("ab", 2)
    assert topics.parse_model(topics.base + "model/ab/x") is None


@pytest.mark.parametrize("prefix", ["", "/a", "a//b", "a/+", "#"])
def test_a_prefix_with_wildcards_or_empty_levels_is_refused(prefix: str) -> None:
    with pytest.raises(UsageError, match="topic prefix"):
        Topics("demo", prefix)
