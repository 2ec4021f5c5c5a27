"""The Python API of the original CloudBurst: its names, arguments, defaults and result keys.

Code written for the original runs when only its import line is changed::

    from cloudburst.compat import InstantInstanceOperationV2, execute_parallel_batches

Not even that is necessary: a module ``instant_instance_operation_v2`` is installed too. Everything
here is a thin layer over `cloudburst.load_job` and `cloudburst.run`; docs/migrating.md lists where
results differ from the original's, and why.
"""

from cloudburst.compat.functions import (
    calculate_optimal_batch_distribution,
    execute_parallel_batches,
    instant_batch_processing,
    scan_and_test_folder,
)
from cloudburst.compat.operation import InstantInstanceOperationV2

__all__ = [
    "InstantInstanceOperationV2",
    "calculate_optimal_batch_distribution",
    "execute_parallel_batches",
    "instant_batch_processing",
    "scan_and_test_folder",
]
