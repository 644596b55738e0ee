"""The actions of V-COCO (Gupta and Malik, arXiv:1505.04474) and their roles, and COCO's classes."""

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
CLASS_INDEX = {name: at for at, name in enumerate(COCO_CLASSES)}
COCO_ID_GAPS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
COCO_IDS = tuple(number for number in range(1, 91) if number not in COCO_ID_GAPS)
"""COCO's category ids, in the order of `COCO_CLASSES`."""
INDEX_OF_COCO_ID = {number: at for at, number in enumerate(COCO_IDS)}
PERSON = CLASS_INDEX["person"]

ROLES: dict[str, tuple[str, ...]] = {
    "hold": ("obj",), "stand": (), "sit": ("instr",), "ride": ("instr",), "walk": (), "look": ("obj",),
    "hit": ("instr", "obj"), "eat": ("obj", "instr"), "jump": ("instr",), "lay": ("instr",),
    "talk_on_phone": ("instr",), "carry": ("obj",), "throw": ("obj",), "catch": ("obj",), "cut": ("instr", "obj"),
    "run": (), "work_on_computer": ("instr",), "ski": ("instr",), "surf": ("instr",), "skateboard": ("instr",),
    "smile": (), "drink": ("instr",), "kick": ("obj",), "point": ("instr",), "read": ("obj",),
    "snowboard": ("instr",),
}  # fmt: skip
"""The 26 actions in the official order, and the roles of each beside the agent."""
ACTIONS = tuple(ROLES)

SLOTS: tuple[tuple[str, str | None], ...] = tuple(
    (action, role) for action, roles in ROLES.items() for role in (roles or (None,))
)
"""The 29 pairs of action and role; None where an action has no role."""
SLOT_INDEX = {slot: at for at, slot in enumerate(SLOTS)}
SLOTS_OF = {action: tuple(at for at, (name, _) in enumerate(SLOTS) if name == action) for action in ACTIONS}
HAS_ROLE = tuple(role is not None for _, role in SLOTS)

_SEATS = ("bench", "chair", "couch", "bed", "toilet", "dining table")
_CUTLERY = ("fork", "knife", "spoon")
_FOOD = ("banana", "apple", "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake")
ALLOWED: dict[tuple[str, str], tuple[str, ...]] = {
    ("sit", "instr"): ("bicycle", "motorcycle", "horse", "elephant", *_SEATS, "suitcase", "handbag", "backpack"),
    ("ride", "instr"): (
        "bicycle", "motorcycle", "bus", "truck", "boat", "train", "airplane", "car", "horse", "elephant",
    ),
    ("hit", "instr"): ("tennis racket", "baseball bat"),
    ("hit", "obj"): ("sports ball",),
    ("eat", "obj"): _FOOD,
    ("eat", "instr"): _CUTLERY,
    ("jump", "instr"): ("snowboard", "skis", "skateboard", "surfboard"),
    ("lay", "instr"): _SEATS,
    ("talk_on_phone", "instr"): ("cell phone",),
    ("throw", "obj"): ("sports ball", "frisbee"),
    ("catch", "obj"): ("sports ball", "frisbee"),
    ("cut", "instr"): ("scissors", "fork", "knife"),
    ("work_on_computer", "instr"): ("laptop",),
    ("ski", "instr"): ("skis",),
    ("surf", "instr"): ("surfboard",),
    ("skateboard", "instr"): ("skateboard",),
    ("drink", "instr"): ("wine glass", "bottle", "cup", "bowl"),
    ("kick", "obj"): ("sports ball",),
    ("read", "obj"): ("book",),
    ("snowboard", "instr"): ("snowboard",),
}  # fmt: skip
"""The classes that V-COCO's annotators could choose from for a role; any class where a role is missing."""
