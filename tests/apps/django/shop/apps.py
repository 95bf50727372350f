"""The application's entry in Django's registry."""

from django.apps import AppConfig
from django.conf import settings


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        if settings.LARDER_WEBHOOK_URL or settings.LARDER_BY_ANSWER:
            from . import larder

            larder.connect()
