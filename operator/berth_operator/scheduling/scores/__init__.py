"""All scores, in the order in which they are summed. A node's score is their weighted sum."""

from berth_operator.scheduling.plugins import Score
from berth_operator.scheduling.scores import (
    balancedallocation,
    buildfailures,
    imagelocality,
    leastallocated,
    migrations,
    mostallocated,
    nodeaffinity,
    tainttoleration,
    topologyspread,
    vmaffinity,
)

SCORES: tuple[Score, ...] = (
    leastallocated.SCORE,
    mostallocated.SCORE,
    balancedallocation.SCORE,
    nodeaffinity.SCORE,
    vmaffinity.SCORE,
    topologyspread.SCORE,
    imagelocality.SCORE,
    tainttoleration.SCORE,
    buildfailures.SCORE,
    migrations.SCORE,
)
