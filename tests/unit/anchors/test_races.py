"""Whatever races, VMs that were admitted never have more than the kubelet has set aside for them."""

import pytest
from tests.unit.anchors.races import Race


@pytest.mark.looptime
@pytest.mark.parametrize("seed", range(8))
async def test_no_interleaving_overbooks_the_node(seed: int) -> None:
    race = Race(seed)
    await race.run(claims=12)
    assert race.overbooked == []
    assert race.admitted > 5 or not race.kubelet.tracks, "VMs do get room; one that is denied may be so for long"
    assert race.refused + race.kubelet.turned_down > 5, "and there is a race for it"
    assert race.at_rest or not race.kubelet.tracks, "what it may not be told to forget it keeps for a while"
