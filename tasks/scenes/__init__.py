"""Robot, tool and scene as one model."""
