"""The paper's comparisons as tables: what is compared, how it is measured, what came out.

Names in reading order: ``contenders`` (who is measured) -> ``protocols`` (how) -> ``rows`` (the
tables) -> ``results`` (a file for each training seed) -> ``work`` (makes those that are missing)
-> ``document`` (docs/comparisons.md).
"""
