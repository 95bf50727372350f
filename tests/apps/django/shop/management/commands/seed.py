"""Fills an empty database: two tenants with two users each, people, inventory, and an administrator."""

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand
from django.db import transaction
from shop.models import InventoryItem, Membership, Person, Tenant

PASSWORD = "correct horse battery staple"

TENANTS = {
    "acme": {
        "name": "Acme Tools",
        "users": {"ann": "manager", "adam": "clerk"},
        "people": ["Alma Acker", "Aron Ahl", "Asta Arndt"],
        "items": [("Anvil", "Aachen", 3), ("Auger", "Aachen", 12), ("Awl", "Aalen", 40)],
    },
    "bolt": {
        "name": "Bolt Bikes",
        "users": {"bea": "manager", "bob": "clerk"},
        "people": ["Beate Bahr", "Bruno Beck"],
        "items": [("Bell", "Bonn", 100), ("Brake", "Bonn", 60)],
    },
}


class Command(BaseCommand):
    help = "Fills an empty database with two tenants and an administrator."

    @transaction.atomic
    def handle(self, **options):
        password = make_password(PASSWORD)
        for slug, data in TENANTS.items():
            tenant = Tenant.objects.create(slug=slug, name=data["name"])
            for username, role in data["users"].items():
                user = User.objects.create(username=username, password=password)
                Membership.objects.create(user=user, tenant=tenant, role=role)
            for name in data["people"]:
                Person.objects.create(tenant=tenant, name=name)
            for name, branch, quantity in data["items"]:
                InventoryItem.objects.create(tenant=tenant, name=name, branch=branch, quantity=quantity)
        User.objects.create(username="root", password=password, is_staff=True, is_superuser=True)
        self.stdout.write("Two tenants, four users and the administrator `root` are there.")
