"""The models in Django's admin."""

from django.contrib import admin

from .models import InventoryItem, Membership, Person, Tenant

admin.site.register([InventoryItem, Membership, Person, Tenant])
