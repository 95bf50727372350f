"""Settings of the back office: what `startproject` writes, and little else.

What differs between installations comes from the environment.
"""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("BACKOFFICE_SECRET_KEY", "only-for-a-developer's-own-machine")
DEBUG = False
ALLOWED_HOSTS = os.environ.get("BACKOFFICE_HOSTS", "127.0.0.1,localhost").split(",")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "shop",
]

MIDDLEWARE = [
    "shop.middleware.ViewLog",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "backoffice.urls"
WSGI_APPLICATION = "backoffice.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("BACKOFFICE_DATABASE", BASE_DIR / "db.sqlite3"),
        # Writers wait for each other instead of failing.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/dashboard/"
LOGOUT_REDIRECT_URL = "/login/"

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"

# Static files are served by the application itself, found in each app's `static/` folder.
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 3600

# One line for each request that the application answered (see shop/middleware.py); none without a file.
VIEW_LOG = os.environ.get("BACKOFFICE_VIEW_LOG")
# How long the reporting database takes for the dashboard's figures, and for a drop-down.
REPORT_SECONDS = float(os.environ.get("BACKOFFICE_REPORT_SECONDS", "0.3"))
LOOKUP_SECONDS = float(os.environ.get("BACKOFFICE_LOOKUP_SECONDS", "0.05"))

# How Larder is told what changed (see shop/larder.py): by signed events, by a field of the answers, or not at all.
LARDER_WEBHOOK_URL = os.environ.get("LARDER_WEBHOOK_URL")
LARDER_WEBHOOK_SECRET = os.environ.get("LARDER_WEBHOOK_SECRET")
LARDER_BY_ANSWER = os.environ.get("LARDER_BY_ANSWER") == "yes"
if LARDER_BY_ANSWER:
    MIDDLEWARE.append("shop.larder.TellByAnswer")
