"""The application's entry in Django's registry."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"
