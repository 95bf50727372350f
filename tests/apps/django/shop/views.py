"""The pages. Each shows what belongs to the tenant of whoever is logged in, and nothing else."""

import functools
import json

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from . import reports
from .forms import ItemForm
from .models import InventoryItem, Membership


def membership_of(user):
    """Whom the user works for, or None."""
    return Membership.objects.select_related("tenant").filter(user=user).first()


def member_page(view):
    """A page for members of a tenant: others are sent to the login, or refused."""

    @login_required
    @functools.wraps(view)
    def page(request, *args, **kwargs):
        request.membership = membership_of(request.user)
        if request.membership is None:
            raise PermissionDenied("You do not work for any tenant.")
        return view(request, request.membership.tenant, *args, **kwargs)

    return page


def member_api(view):
    """The same for programs: 401 and 403 in JSON."""

    @functools.wraps(view)
    def api(request, *args, **kwargs):
        if not request.user.is_authenticated:
            return JsonResponse({"error": "log in first"}, status=401)
        request.membership = membership_of(request.user)
        if request.membership is None:
            return JsonResponse({"error": "no tenant"}, status=403)
        return view(request, request.membership.tenant, *args, **kwargs)

    return api


@require_GET
@member_page
def dashboard(request, tenant):
    figures = reports.dashboard(tenant)
    as_of = timezone.now().isoformat(timespec="microseconds")
    return render(request, "shop/dashboard.html", {"tenant": tenant, "figures": figures, "as_of": as_of})


@require_GET
@member_page
def profile(request, tenant):
    return render(request, "shop/profile.html", {"tenant": tenant, "membership": request.membership})


@require_http_methods(["GET", "POST"])
@member_page
def new_item(request, tenant):
    return edit(request, InventoryItem(tenant=tenant))


@require_http_methods(["GET", "POST"])
@member_page
def edit_item(request, tenant, item_id):
    return edit(request, get_object_or_404(InventoryItem, id=item_id, tenant=tenant))


def edit(request, item):
    form = ItemForm(request.POST or None, instance=item)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("dashboard")
    return render(request, "shop/item.html", {"form": form, "tenant": item.tenant})


def as_json(item):
    return {"id": item.id, "name": item.name, "branch": item.branch, "quantity": item.quantity}


@require_http_methods(["GET", "POST"])
@member_api
def inventory(request, tenant):
    if request.method == "GET":
        items = InventoryItem.objects.filter(tenant=tenant)
        return JsonResponse({"tenant": tenant.slug, "items": [as_json(item) for item in items]})
    try:
        fields = json.loads(request.body)
    except ValueError:
        return JsonResponse({"error": "the body is not JSON"}, status=400)
    form = ItemForm(fields if isinstance(fields, dict) else {}, instance=InventoryItem(tenant=tenant))
    if not form.is_valid():
        return JsonResponse({"error": form.errors}, status=400)
    return JsonResponse(as_json(form.save()), status=201)


@require_GET
@member_api
def dropdown(request, tenant, kind):
    options = reports.options(tenant, kind)
    if options is None:
        return JsonResponse({"error": "no such list"}, status=404)
    return JsonResponse({"tenant": tenant.slug, "options": options})


@require_GET
def whoami(request):
    """Who is logged in, for the programs around this one: in header fields, without a body."""
    if not request.user.is_authenticated:
        return HttpResponse(status=401)
    response = HttpResponse()
    response["X-User"] = request.user.get_username()
    membership = membership_of(request.user)
    if membership is not None:
        request.membership = membership
        response["X-Tenant"] = membership.tenant.slug
        response["X-Role"] = membership.role
    elif request.user.is_staff:
        response["X-Role"] = "staff"
    return response
