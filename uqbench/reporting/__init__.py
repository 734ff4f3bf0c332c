"""Reporting: one page that says what was found (the verb `report`), and its tables and figures for notebooks."""

from .page import report as report
