"""Analysis by the business's own dimensions, such as department or project."""

from __future__ import annotations

from tap_sage_accounting.client import ReferenceDataStream
from tap_sage_accounting.declaration import Area


class AnalysisTypeCategories(ReferenceDataStream):
    """Values of an analysis dimension, for instance the single departments."""

    name = "analysis_type_categories"
    changed_since = True
    master_data = True
    deletable = True
    areas = (Area.SETTINGS,)
    editions = ("Standard", "Plus")


class AnalysisTypes(ReferenceDataStream):
    """Dimensions by which the business breaks down its figures, such as department, project or cost centre."""

    name = "analysis_types"
    changed_since = True
    master_data = True
    areas = (Area.SETTINGS,)
    full_access = True
    editions = ("Standard", "Plus")
