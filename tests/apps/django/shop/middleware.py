"""A log of what the application answered, for whoever wants to know what it spends its time on.

One line of JSON for each request, written before the answer is sent: method, path, status, user and tenant.
"""

import json
import os

from django.conf import settings


class ViewLog:
    def __init__(self, get_response):
        self.get_response = get_response
        self.file = None
        if settings.VIEW_LOG:
            # One write to a file opened for appending is one line, also from several processes.
            self.file = os.open(settings.VIEW_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __call__(self, request):
        response = self.get_response(request)
        if self.file is not None:
            os.write(self.file, self.line(request, response))
        return response

    def line(self, request, response):
        # A page that never looked at the session has neither a user nor a tenant here.
        user = getattr(request, "user", None)
        membership = getattr(request, "membership", None)
        entry = {
            "method": request.method,
            "path": request.path,
            "status": response.status_code,
            "user": user.get_username() if user is not None and user.is_authenticated else None,
            "tenant": membership.tenant.slug if membership else None,
        }
        return json.dumps(entry).encode() + b"\n"
