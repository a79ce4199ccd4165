from django.apps import AppConfig

from config.api.problem_types import ProblemType
from tests.resource_project.notes import scopes


class NotesConfig(AppConfig):
    name = "tests.resource_project.notes"
    problem_types = {
        "title_taken": ProblemType(
            409, "Another note has this title.", "Use another title."
        )
    }
    scopes = {scopes.READ: "Read notes.", scopes.WRITE: "Change notes."}
    links = ("notes",)
