"""The figures of a tenant. They come from the reporting database, which takes its time."""

import time

from django.conf import settings
from django.db.models import Sum

from .models import InventoryItem, Person


def dashboard(tenant):
    """The counts on the tenant's dashboard."""
    time.sleep(settings.REPORT_SECONDS)
    items = InventoryItem.objects.filter(tenant=tenant)
    return {
        "people": Person.objects.filter(tenant=tenant).count(),
        "items": items.count(),
        "pieces": items.aggregate(pieces=Sum("quantity"))["pieces"] or 0,
        "branches": items.values("branch").distinct().count(),
    }


def options(tenant, kind):
    """What a drop-down list of this kind offers, or nothing where there is no such list."""
    models = {"people": Person, "asset": InventoryItem}
    if kind not in models:
        return None
    time.sleep(settings.LOOKUP_SECONDS)
    rows = models[kind].objects.filter(tenant=tenant)
    return [{"id": row.id, "label": str(row)} for row in rows]
