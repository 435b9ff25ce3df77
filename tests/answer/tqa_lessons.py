"""Files in TQA's format, written for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


def content(text: str) -> Entry:
    return {"content": {"figures": [{"caption": "FIGURE 1", "imagePath": "t/1.png"}], "mediaLinks": [], "text": text}}


def choices(*texts: str) -> Entry:
    return {
        letter: {"idStructural": f"{letter}.", "processedText": text, "rawText": f"{letter}. {text}"}
        for letter, text in zip("abcdefg", texts, strict=False)
    }


def asked(text: str, *texts: str, answer: str, sub_kind: str = "Multiple Choice", **more: object) -> Entry:
    return {
        "answerChoices": choices(*texts),
        "beingAsked": {"processedText": text, "rawText": f"1. {text}"},
        "correctAnswer": {"processedText": answer, "rawText": f"1. {answer}" if answer else ""},
        "idStructural": "1.",
        "questionSubType": sub_kind,
        "questionType": "Multiple Choice",
        **more,
    }


def whole_lesson() -> Entry:
    """Every key that a lesson has, in the forms that the released files have."""
    return {
        "globalID": "L_0002",
        "lessonName": "layers of the earth ",
        "metaLessonID": "ML_1",
        "topics": {
            "T_0012": {**content("The mantle is hot. It flows.\n"), "globalID": "T_0012", "topicName": "The mantle"},
            "T_0009": {**content("The crust is thin. \n\nIt is cold."), "globalID": "T_0009", "topicName": "The crust"},
        },
        "adjunctTopics": {
            "Vocabulary": {"mantle": "layer of hot rock ", "crust": ""},
            "Lesson Summary": {**content("Earth has layers."), "orderID": "t_10"},
            "Introduction": {**content("What is below us? "), "orderID": "t_9"},
            "Recall": {"orderID": "t_11"},
        },
        "questions": {
            "nonDiagramQuestions": {
                "NDQ_1": asked("Which layer is hot?", "crust", "mantle", answer="b", globalID="NDQ_1"),
                "NDQ_2": asked("The crust is hot.", "true", "false", answer="b", sub_kind="True or False"),
                "NDQ_3": asked("hot rock", *"tuvwxyz", answer="g", sub_kind="Matching"),
            },
            "diagramQuestions": {
                "DQ_1": asked(
                    "What is A?",
                    "crust",
                    "core",
                    answer="a",
                    questionType="Diagram Multiple Choice",
                    imageName="layers_1.png",
                    imagePath="question_images/layers_1.png",
                ),
            },
        },
        "instructionalDiagrams": {
            "DD_0001": {
                "globalID": "DD_0001",
                "imageName": "cut_2.png",
                "imagePath": "teaching_images/cut_2.png",
                "processedText": "The picture shows the layers. The core is inside.",
                "rawText": "raw",
            },
            "DD_0002": {"imageName": "bare_3.png", "imagePath": "teaching_images/bare_3.png", "processedText": None},
        },
        "diagramAnnotations": {
            "layers_1.png": [
                {"text": " A ", "rectangle": [[331, 356], [261, 340]]},
                {"text": "", "rectangle": [[0, 0], [1, 1]]},
                {"text": "inner  core", "rectangle": [[-5, 1262], [328.5, 1343]]},
            ],
            "cut_2.png": [{"text": "core", "rectangle": [[1, 2], [3, 4]]}],
        },
    }


def written(folder: Path, lessons: object, name: str = "tqa_v1_val.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(lessons), encoding="utf-8")
    return path
