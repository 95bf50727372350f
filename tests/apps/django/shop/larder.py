"""Tells Larder what changed: by a signed event after the commit, and by a field of the answer.

Only the standard library and Django are needed. Copy the file into your application, connect your models in `connect`,
call it from your `AppConfig.ready`, and set LARDER_WEBHOOK_URL and LARDER_WEBHOOK_SECRET in your settings.
"""

import base64
import contextvars
import hashlib
import hmac
import json
import logging
import time
import urllib.error
import urllib.request
import uuid

from django.conf import settings
from django.db import transaction
from django.db.models.signals import post_delete, post_save

log = logging.getLogger(__name__)


def connect():
    """Watches the models whose pages are cached."""
    from .models import InventoryItem, Person

    for model in (InventoryItem, Person):
        post_save.connect(saved, sender=model)
        post_delete.connect(deleted, sender=model)


def saved(sender, instance, **kwargs):
    changed(sender, instance, "save")


def deleted(sender, instance, **kwargs):
    changed(sender, instance, "delete")


def changed(model, instance, action):
    event = {"tenant": instance.tenant.slug, "model": model.__name__, "action": action, "id": instance.pk}
    if hasattr(instance, "branch"):
        event["branch"] = instance.branch
    if settings.LARDER_WEBHOOK_URL:
        # After the commit: before it, a page that is computed anew would still show the old state.
        transaction.on_commit(lambda: send(event))
    told = answer_tells.get()
    if told is not None:
        told.add(model.__name__)


def send(event, attempts=3):
    """Sends one event, again when it fails. The same id each time: it takes effect once."""
    body = json.dumps(event).encode()
    event_id = f"evt_{uuid.uuid4().hex}"
    for attempt in range(attempts):
        try:
            with urllib.request.urlopen(signed(event_id, body), timeout=2) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                log.error("Larder refused an event: %s %s", error.code, error.read().decode(errors="replace"))
            if error.code < 500:
                return None
        except OSError as error:
            log.warning("an event did not reach Larder: %s", error)
        time.sleep(0.2 * 2**attempt)
    return None


def signed(event_id, body):
    """The request, signed as in Standard Webhooks."""
    timestamp = str(int(time.time()))
    content = b".".join([event_id.encode(), timestamp.encode(), body])
    digest = hmac.digest(settings.LARDER_WEBHOOK_SECRET.encode(), content, hashlib.sha256)
    fields = {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    return urllib.request.Request(settings.LARDER_WEBHOOK_URL, body, fields)


# What the answer under way will tell; None where it tells nothing.
answer_tells = contextvars.ContextVar("answer_tells", default=None)

# What changes with a model, for the field of the answer.
PURGES = {
    "InventoryItem": ["pattern inventory", "pattern dropdown:asset", "pattern dashboard"],
    "Person": ["pattern dropdown:people", "pattern dashboard"],
}


class TellByAnswer:
    """A middleware that needs no secret: Larder purges what a write's answer names, before the writer hears it."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        token = answer_tells.set(set())
        try:
            response = self.get_response(request)
            purges = sorted({purge for model in answer_tells.get() for purge in PURGES[model]})
        finally:
            answer_tells.reset(token)
        if purges:
            response["X-Larder-Purge"] = ", ".join(purges)
        return response
