from django.apps import AppConfig

from config.api.problem_types import ProblemType
from users import scopes


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
        scopes.READ: "Read users.",
        scopes.WRITE: "Create, change and delete users.",
        scopes.ADMIN: "Import and export all users.",
    }
    links = ("users",)
