"""Analysis by the business's own dimensions, such as department or project."""

from __future__ import annotations

from tap_sage_accounting.client import SageStream
from tap_sage_accounting.declaration import Area


class AnalysisTypeCategories(SageStream):
    """Values of an analysis dimension, for instance the single departments."""

    name = "analysis_type_categories"
    changed_since = True
    master_data = True
    deletable = True
    areas = (Area.SETTINGS,)
    editions = ("Standard", "Plus")
    static = True


class AnalysisTypes(SageStream):
    """Dimensions by which the business breaks down its figures, such as department, project or cost centre."""

    name = "analysis_types"
    changed_since = True
    master_data = True
    areas = (Area.SETTINGS,)
    full_access = True
    editions = ("Standard", "Plus")
    static = True
