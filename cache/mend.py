"""Making a cache ready to be written: what broke off is finished or swept, and tables are mended.

Chunks, receipts and a store's metadata need no step of their own: a run makes anew what has no sound receipt,
and folds metadata and arrays by slot from plan and receipts.
"""

from pathlib import Path

from cache import clips, plan
from cache.compaction.switch import finish_switch
from cache.files import sweep_partials
from cache.tables import is_damaged, mend_table


def make_ready(folder: Path) -> None:
    """Finish a compaction that broke off, sweep leftovers, mend the tables; the writer's lock must be held.

    A clip table that is damaged together with its copy is removed: it is made anew from the dataset.
    """
    finish_switch(folder)
    sweep_partials(folder)
    for name in (clips.FILE_NAME, plan.FILE_NAME):
        mend_table(folder / name)
    table = folder / clips.FILE_NAME
    if table.exists() and is_damaged(table):
        table.unlink()
