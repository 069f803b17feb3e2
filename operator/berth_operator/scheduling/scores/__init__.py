"""All scores. A node's score is their weighted sum."""

from berth_operator.scheduling.plugins import Score
from berth_operator.scheduling.scores import least_allocated

SCORES: tuple[Score, ...] = (least_allocated.SCORE,)
