"""A canvas for pictures of systems: coordinates in meters, anti-aliased, without a display.

Everything is drawn at `OVERSAMPLING` times the size and scaled down with smoothing.  Pygame is loaded on first use.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
from types import ModuleType
from typing import Any

import numpy as np

from forethought.core.errors import UsageError

Color = tuple[int, int, int]
Number = float | int
Point = tuple[Number, Number] | np.ndarray

WIDTH, HEIGHT = 640, 400  # pixels; multiples of 16 suit video codecs
OVERSAMPLING = 3

PAPER: Color = (250, 249, 246)
INK: Color = (44, 52, 64)
GRAY: Color = (150, 156, 166)
FAINT: Color = (222, 224, 226)
BLUE: Color = (46, 108, 196)
ORANGE: Color = (236, 118, 44)
GREEN: Color = (52, 152, 98)
PALE_GREEN: Color = (214, 236, 222)


@functools.cache
def load_pygame() -> ModuleType:
    """Pygame, without its message on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        import pygame
    return pygame


class Canvas:
    """A canvas to draw a picture on.

    Args:
        scale: pixels per meter.
        center: world coordinates of the middle of the picture (m).
    """

    def __init__(self, *, scale: Number, center: Point = (0.0, 0.0)):
        self._pygame = load_pygame()
        self._surface = self._pygame.Surface((WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING))
        self._surface.fill(PAPER)
        self._scale, self._center = scale * OVERSAMPLING, center

    @property
    def left(self) -> float:
        """The world's coordinate at the left edge (m)."""
        return self._center[0] - WIDTH * OVERSAMPLING / 2 / self._scale

    @property
    def right(self) -> float:
        """The world's coordinate at the right edge (m)."""
        return self._center[0] + WIDTH * OVERSAMPLING / 2 / self._scale

    def polygon(self, points: list[Point] | np.ndarray, color: Color) -> None:
        """A filled polygon."""
        self._pygame.draw.polygon(self._surface, color, [self._pixel(p) for p in points])

    def disc(self, center: Point, radius: Number, color: Color) -> None:
        """A filled circle."""
        self._pygame.draw.circle(self._surface, color, self._pixel(center), radius * self._scale)

    def ring(self, center: Point, radius: Number, color: Color, width: Number = 0.01) -> None:
        """A circle drawn with a line of `width` meters."""
        thickness = max(1, round(width * self._scale))
        self._pygame.draw.circle(self._surface, color, self._pixel(center), radius * self._scale, thickness)

    def stroke(self, start: Point, end: Point, color: Color, width: Number) -> None:
        """A line of `width` meters with round ends."""
        along = np.subtract(end, start)
        length = float(np.hypot(*along))
        if length > 0:
            side = 0.5 * width * np.array([-along[1], along[0]]) / length
            self.polygon(np.array([start + side, end + side, end - side, start - side]), color)
        self.disc(start, width / 2, color)
        self.disc(end, width / 2, color)

    def box(self, center: Point, size: Point, color: Color, *, angle: Number = 0.0, corner: Number = 0.0) -> None:
        """A rectangle of `size` (m), turned by `angle` (rad), its corners rounded by `corner` (m)."""
        half = np.array(size) / 2 - corner
        corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * half
        corners = center + corners @ rotation(angle).T
        self.polygon(corners, color)
        if corner:
            for start, end in zip(corners, np.roll(corners, 1, 0), strict=True):
                self.stroke(start, end, color, 2 * corner)

    def arrow(self, start: Point, end: Point, color: Color = ORANGE, width: Number = 0.02) -> None:
        """An arrow; nothing if it is shorter than its width."""
        along = np.subtract(end, start)
        length = float(np.hypot(*along))
        if length < width:
            return
        forward = along / length
        side, head = np.array([-forward[1], forward[0]]), min(3.5 * width, length)
        neck = end - head * forward
        if length > head:
            self.stroke(start, neck, color, width)
        self.polygon(np.array([end, neck + 0.55 * head * side, neck - 0.55 * head * side]), color)

    def turn_arrow(self, center: Point, radius: Number, share: Number, *, toward: Number = 0.0) -> None:
        """An arc with a head about `center`: a torque, counter-clockwise where `share` (in [-1, 1]) is positive.

        Args:
            center: of the arc.
            radius: of the arc (m).
            share: torque as a share of its limit; the full torque is an arc of 2.4 rad.
            toward: direction of the middle of the arc (rad).
        """
        sweep = 2.4 * float(np.clip(share, -1, 1))
        if abs(sweep) < 0.15:
            return
        angles = np.linspace(toward - sweep / 2, toward + sweep / 2, 24)
        points = center + radius * np.stack([np.cos(angles), np.sin(angles)], -1)
        width = 0.11 * radius
        for start, end in zip(points[:-3], points[1:-2], strict=True):
            self.stroke(start, end, ORANGE, width)
        forward = points[-1] - points[-3]
        forward = forward / np.hypot(*forward)
        self.arrow(points[-1] - 2.2 * width * forward, points[-1] + 1.2 * width * forward, width=width)

    def title(self, text: str, seconds: Number) -> None:
        """A title in the upper left corner, and the time in the upper right."""
        self._text(text, 19, INK, (18, 14))
        self._text(f"{seconds:.2f} s", 19, GRAY, (WIDTH - 18, 14), right=True)

    def picture(self) -> np.ndarray:
        """The finished picture, [height, width, 3] uint8."""
        small = self._pygame.transform.smoothscale(self._surface, (WIDTH, HEIGHT))
        return np.ascontiguousarray(self._pygame.surfarray.array3d(small).swapaxes(0, 1))

    def _text(self, text: str, size: int, color: Color, place: tuple[int, int], *, right: bool = False) -> None:
        image = _font(size * OVERSAMPLING).render(text, True, color)
        x, y = place[0] * OVERSAMPLING, place[1] * OVERSAMPLING
        self._surface.blit(image, (x - image.get_width() if right else x, y))

    def _pixel(self, point: Point) -> tuple[float, float]:
        x, y = (float(v) for v in point)
        across = WIDTH * OVERSAMPLING / 2 + (x - self._center[0]) * self._scale
        down = HEIGHT * OVERSAMPLING / 2 - (y - self._center[1]) * self._scale
        limit = 20_000.0  # far outside the picture; larger numbers overflow pygame's integers
        return max(-limit, min(limit, across)), max(-limit, min(limit, down))


class Window:
    """A window on the screen that shows pictures at a constant rate."""

    def __init__(self, title: str, *, fps: Number):
        self._pygame = load_pygame()
        try:
            self._pygame.display.init()
            self._screen = self._pygame.display.set_mode((WIDTH, HEIGHT))
        except self._pygame.error as error:
            raise UsageError(f"No window can be opened here ({error}); use render_mode='rgb_array'.") from error
        self._pygame.display.set_caption(title)
        self._clock, self._fps = self._pygame.time.Clock(), fps

    def show(self, picture: np.ndarray) -> None:
        """Show the picture, then wait until it is time for the next one."""
        self._pygame.event.pump()
        self._screen.blit(self._pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
        self._pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()


def rotation(angle: Number) -> np.ndarray:
    """The counter-clockwise rotation matrix."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _font(size: int) -> Any:
    """A new font each time: a font does not survive `pygame.quit`, which other environments call when they close."""
    pygame = load_pygame()
    pygame.font.init()
    return pygame.font.Font(None, size)
