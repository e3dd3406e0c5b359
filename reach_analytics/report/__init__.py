"""The HTML report, the frames as files, and a plan as files to upload."""

from reach_analytics.report.data import export_contents, report_frames
from reach_analytics.report.export import export, write_csv
from reach_analytics.report.page import write_report
from reach_analytics.report.upload_files import write_upload_files
from reach_analytics.report.writing import write_page, write_tenant_pages

__all__ = [
    "export",
    "export_contents",
    "report_frames",
    "write_csv",
    "write_page",
    "write_report",
    "write_tenant_pages",
    "write_upload_files",
]
