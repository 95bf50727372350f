"""The pages of the back office."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.urls import path
from django.views.generic import RedirectView
from shop import views

urlpatterns = [
    path("", RedirectView.as_view(url="/dashboard/")),
    path("login/", auth.LoginView.as_view(), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("dashboard/", views.dashboard, name="dashboard"),
    path("profile/", views.profile, name="profile"),
    path("inventory/new/", views.new_item, name="new-item"),
    path("inventory/<int:item_id>/edit/", views.edit_item, name="edit-item"),
    path("api/inventory/", views.inventory, name="api-inventory"),
    path("api/dropdown/<str:kind>/", views.dropdown, name="api-dropdown"),
    path("whoami/", views.whoami, name="whoami"),
    path("admin/", admin.site.urls),
]
