from django.apps import AppConfig

from config.api.problem_types import ProblemType
from tests.resource_project.notes.scopes import READ, WRITE


class NotesConfig(AppConfig):
    name = "tests.resource_project.notes"
    problem_types = {
        "title_taken": ProblemType(
            409, "Another note has this title.", "Use another title."
        )
    }
    scopes = {READ: "Read notes.", WRITE: "Change notes."}
    links = ("notes",)
