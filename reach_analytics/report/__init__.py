"""The HTML report, and the frames as files."""

from reach_analytics.report.data import export_contents, report_frames
from reach_analytics.report.export import export, write_csv
from reach_analytics.report.page import write_report

__all__ = ["export", "export_contents", "report_frames", "write_csv", "write_report"]
