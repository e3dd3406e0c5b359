"""The public names; `_lazy.attach_stub` reads them from here."""

from . import (
    errors as errors,
)
from . import (
    measures as measures,
)
from . import (
    plots as plots,
)
from . import (
    sandbox as sandbox,
)
from . import (
    tables as tables,
)
from .client import (
    BatchDocument as BatchDocument,
)
from .client import (
    Client as Client,
)
from .client import (
    PartnerSigner as PartnerSigner,
)
from .client import (
    RetryPolicy as RetryPolicy,
)
from .client import (
    TenantSigner as TenantSigner,
)
from .collector import (
    PollingPolicy as PollingPolicy,
)
from .collector import (
    RunSummary as RunSummary,
)
from .collector import (
    collect as collect,
)
from .collector import (
    watch as watch,
)
from .errors import ReachError as ReachError
from .history import History as History
from .history import open_history as open_history
from .plots import (
    plot_backlog as plot_backlog,
)
from .plots import (
    plot_batch as plot_batch,
)
from .plots import (
    plot_bottlenecks as plot_bottlenecks,
)
from .plots import (
    plot_change_point as plot_change_point,
)
from .plots import (
    plot_changes as plot_changes,
)
from .plots import (
    plot_choke_points as plot_choke_points,
)
from .plots import (
    plot_collection_health as plot_collection_health,
)
from .plots import (
    plot_control_chart as plot_control_chart,
)
from .plots import (
    plot_coverage as plot_coverage,
)
from .plots import (
    plot_dependency_graph as plot_dependency_graph,
)
from .plots import (
    plot_durations as plot_durations,
)
from .plots import (
    plot_expiring as plot_expiring,
)
from .plots import (
    plot_lost as plot_lost,
)
from .plots import (
    plot_quality as plot_quality,
)
from .plots import (
    plot_release_rates as plot_release_rates,
)
from .plots import (
    plot_running as plot_running,
)
from .plots import (
    plot_schema_graph as plot_schema_graph,
)
from .plots import (
    plot_status as plot_status,
)
from .plots import (
    plot_success as plot_success,
)
from .plots import (
    plot_survival as plot_survival,
)
from .plots import (
    plot_throughput as plot_throughput,
)
from .plots import (
    plot_upload_plan as plot_upload_plan,
)
from .report import write_upload_files as write_upload_files
from .store import Store as Store

__version__: str
