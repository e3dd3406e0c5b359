"""What is handed to others: the HTML report, and the frames as files."""

from reach_analytics.report.export import export
from reach_analytics.report.page import write_report

__all__ = ["export", "write_report"]
