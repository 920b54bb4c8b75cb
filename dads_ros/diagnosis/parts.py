"""Parts: a recording is examined in parts, so that hours of it need no more memory than one."""

from collections.abc import Iterable
from dataclasses import dataclass

from dads_ros.diagnosis.records import Check, Verdict

_GRAVITY = (Verdict.NOT_SEEN, Verdict.OK, Verdict.WARNING, Verdict.WRONG)


@dataclass
class _Worst:
    check: Check
    at_s: float
    num: int


class Parts:
    """Of each check the worst verdict, and in which parts it was that."""

    def __init__(self) -> None:
        """None yet."""
        self._worst: dict[str, _Worst] = {}
        self.num = 0
        """Parts so far."""

    def add(self, checks: Iterable[Check], at_s: float) -> None:
        """Take in the examination of the part that begins at ``at_s``, seconds from the start."""
        self.num += 1
        for check in checks:
            worst = self._worst.setdefault(check.name, _Worst(check, at_s, 0))
            if check.verdict == worst.check.verdict:
                worst.num += 1
            elif _GRAVITY.index(check.verdict) > _GRAVITY.index(worst.check.verdict):
                self._worst[check.name] = _Worst(check, at_s, 1)

    def checks(self) -> list[Check]:
        """Each check once, in the order in which they came; figures are of the first such part."""
        return [self._told(worst) for worst in self._worst.values()]

    def _told(self, worst: _Worst) -> Check:
        check = worst.check
        if check.verdict not in (Verdict.WARNING, Verdict.WRONG) or worst.num == self.num:
            return check
        where = f"in {worst.num} of {self.num} parts, first at {worst.at_s:.0f} s"
        return check._replace(found=f"{check.found}; {where}")
