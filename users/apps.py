from django.apps import AppConfig

from config.api.problem_types import ProblemType
from users.scopes import ADMIN, READ, WRITE


class UsersConfig(AppConfig):
    name = "users"
    problem_types = {
        "email_taken": ProblemType(
            409,
            "Another user has this e-mail address; letter case does not count.",
            "Use another address, or change the user that has it.",
        )
    }
    scopes = {
        READ: "Read users.",
        WRITE: "Create, change and delete users.",
        ADMIN: "Import and export all users.",
    }
    links = ("users",)
