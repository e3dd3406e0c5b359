"""The HTML report, and the frames as files."""

from reach_analytics.report.data import export_frames, report_frames
from reach_analytics.report.export import export
from reach_analytics.report.page import write_report

__all__ = ["export", "export_frames", "report_frames", "write_report"]
