"""A small drawing board for pictures of systems: world coordinates in metres, anti-aliased, no display needed.

Everything is drawn at `OVERSAMPLING` times the size and smoothly scaled down.  Pygame is loaded when first used.
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

Colour = tuple[int, int, int]
Number = float | int
Point = tuple[Number, Number] | np.ndarray

WIDTH, HEIGHT = 640, 400  # pixels; multiples of 16, which video codecs want
OVERSAMPLING = 3

PAPER: Colour = (250, 249, 246)
INK: Colour = (44, 52, 64)
GREY: Colour = (150, 156, 166)
FAINT: Colour = (222, 224, 226)
BLUE: Colour = (46, 108, 196)
ORANGE: Colour = (236, 118, 44)
GREEN: Colour = (52, 152, 98)
PALE_GREEN: Colour = (214, 236, 222)


@functools.cache
def load_pygame() -> ModuleType:
    """Pygame, without its greeting on standard output."""
    with contextlib.redirect_stdout(io.StringIO()):
        import pygame
    return pygame


class Canvas:
    """A picture in the making.

    Args:
        scale: pixels per metre.
        centre: the point of the world in the middle of the picture (m).
    """

    def __init__(self, *, scale: Number, centre: Point = (0.0, 0.0)):
        self._pygame = load_pygame()
        self._surface = self._pygame.Surface((WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING))
        self._surface.fill(PAPER)
        self._scale, self._centre = scale * OVERSAMPLING, centre

    @property
    def left(self) -> float:
        """The world's coordinate at the left edge (m)."""
        return self._centre[0] - WIDTH * OVERSAMPLING / 2 / self._scale

    @property
    def right(self) -> float:
        """The world's coordinate at the right edge (m)."""
        return self._centre[0] + WIDTH * OVERSAMPLING / 2 / self._scale

    def polygon(self, points: list[Point] | np.ndarray, colour: Colour) -> None:
        """A filled polygon."""
        self._pygame.draw.polygon(self._surface, colour, [self._pixel(p) for p in points])

    def disc(self, centre: Point, radius: Number, colour: Colour) -> None:
        """A filled circle."""
        self._pygame.draw.circle(self._surface, colour, self._pixel(centre), radius * self._scale)

    def ring(self, centre: Point, radius: Number, colour: Colour, width: Number = 0.01) -> None:
        """A circle of `width` metres."""
        thickness = max(1, round(width * self._scale))
        self._pygame.draw.circle(self._surface, colour, self._pixel(centre), radius * self._scale, thickness)

    def stroke(self, start: Point, end: Point, colour: Colour, width: Number) -> None:
        """A line of `width` metres with round ends."""
        along = np.subtract(end, start)
        length = float(np.hypot(*along))
        if length > 0:
            side = 0.5 * width * np.array([-along[1], along[0]]) / length
            self.polygon(np.array([start + side, end + side, end - side, start - side]), colour)
        self.disc(start, width / 2, colour)
        self.disc(end, width / 2, colour)

    def box(self, centre: Point, size: Point, colour: Colour, *, angle: Number = 0.0, corner: Number = 0.0) -> None:
        """A rectangle of `size` (m), turned by `angle` (rad), its corners rounded by `corner` (m)."""
        half = np.array(size) / 2 - corner
        corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * half
        corners = centre + corners @ rotation(angle).T
        self.polygon(corners, colour)
        if corner:
            for start, end in zip(corners, np.roll(corners, 1, 0), strict=True):
                self.stroke(start, end, colour, 2 * corner)

    def arrow(self, start: Point, end: Point, colour: Colour = ORANGE, width: Number = 0.02) -> None:
        """An arrow; nothing where it is shorter than its width."""
        along = np.subtract(end, start)
        length = float(np.hypot(*along))
        if length < width:
            return
        forward = along / length
        side, head = np.array([-forward[1], forward[0]]), min(3.5 * width, length)
        neck = end - head * forward
        if length > head:
            self.stroke(start, neck, colour, width)
        self.polygon(np.array([end, neck + 0.55 * head * side, neck - 0.55 * head * side]), colour)

    def turn_arrow(self, centre: Point, radius: Number, share: Number, *, towards: Number = 0.0) -> None:
        """An arc with a head about `centre`: a torque, counter-clockwise where `share` (in [-1, 1]) is positive.

        Args:
            centre: of the arc.
            radius: of the arc (m).
            share: of the greatest torque; a full one turns by 2.4 rad.
            towards: direction that the arc is centred on (rad).
        """
        sweep = 2.4 * float(np.clip(share, -1, 1))
        if abs(sweep) < 0.15:
            return
        angles = np.linspace(towards - sweep / 2, towards + sweep / 2, 24)
        points = centre + radius * np.stack([np.cos(angles), np.sin(angles)], -1)
        width = 0.11 * radius
        for start, end in zip(points[:-3], points[1:-2], strict=True):
            self.stroke(start, end, ORANGE, width)
        forward = points[-1] - points[-3]
        forward = forward / np.hypot(*forward)
        self.arrow(points[-1] - 2.2 * width * forward, points[-1] + 1.2 * width * forward, width=width)

    def title(self, text: str, seconds: Number) -> None:
        """What it is, in the upper left corner, and when, in the upper right."""
        self._text(text, 19, INK, (18, 14))
        self._text(f"{seconds:.2f} s", 19, GREY, (WIDTH - 18, 14), right=True)

    def picture(self) -> np.ndarray:
        """The finished picture, [height, width, 3] uint8."""
        small = self._pygame.transform.smoothscale(self._surface, (WIDTH, HEIGHT))
        return np.ascontiguousarray(self._pygame.surfarray.array3d(small).swapaxes(0, 1))

    def _text(self, text: str, size: int, colour: Colour, place: tuple[int, int], *, right: bool = False) -> None:
        image = _font(size * OVERSAMPLING).render(text, True, colour)
        x, y = place[0] * OVERSAMPLING, place[1] * OVERSAMPLING
        self._surface.blit(image, (x - image.get_width() if right else x, y))

    def _pixel(self, point: Point) -> tuple[float, float]:
        x, y = (float(v) for v in point)
        across = WIDTH * OVERSAMPLING / 2 + (x - self._centre[0]) * self._scale
        down = HEIGHT * OVERSAMPLING / 2 - (y - self._centre[1]) * self._scale
        limit = 20_000.0  # far outside the picture; keeps pygame's integers from overflowing
        return max(-limit, min(limit, across)), max(-limit, min(limit, down))


class Window:
    """A window on the screen that shows pictures at a steady pace."""

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
        """Show the picture, then wait for as long as is left of its time."""
        self._pygame.event.pump()
        self._screen.blit(self._pygame.surfarray.make_surface(picture.swapaxes(0, 1)), (0, 0))
        self._pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Take the window away."""
        self._pygame.display.quit()


def rotation(angle: Number) -> np.ndarray:
    """The counter-clockwise rotation matrix."""
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


@functools.cache
def _font(size: int) -> Any:
    pygame = load_pygame()
    pygame.font.init()
    return pygame.font.Font(None, size)
