"""The forms of the back office."""

from django import forms

from .models import InventoryItem


class ItemForm(forms.ModelForm):
    class Meta:
        model = InventoryItem
        fields = ["name", "branch", "quantity"]
