from __future__ import annotations

import torch

# several test processes share the machine: more threads each would make them wait for one another
torch.set_num_threads(1)
