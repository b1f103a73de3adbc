"""Shows the agent playing."""

import functools
import io
import itertools
import math
import os
import warnings

import keras
import tensorflow as tf
from PIL import Image

from keras_rl2x import arguments
from keras_rl2x import envs
from keras_rl2x.acting.policy import Policy
from keras_rl2x.callbacks import events

# Browsers show a GIF with more than that at a tenth of the speed.
MOST_FPS = 50


class RecordVideo(keras.callbacks.Callback):
    """Records episodes, as animated images.

    Each recording is a file `episode_<env_steps>.gif` in `directory`, and an
    animated image in TensorBoard's "Images", against environment steps.

    Args:
        env: As in `rl.envs.make`: an id or a function that takes
            `render_mode="rgb_array"`.
        directory: String, where the files and TensorBoard's events go.
        every: Integer, the number of epochs between two recordings. Defaults
            to 10.
        episodes: Integer, how many to record one after the other. Defaults
            to 1.
        max_images: Integer, where to cut a recording, which has at most 50
            images for a second of the environment. Defaults to 3,000, more than
            a game of Pong.
        width: Integer, to how many pixels to shrink a wider image. Defaults
            to 320.
        seed: Integer seed of the environment. Defaults to 1000.
        greedy: Boolean, whether the agent plays without exploration. Defaults
            to `True`.
        **kwargs: As in `rl.envs.make`.

    Raises:
        TypeError: If the environment takes no `render_mode`.
        ValueError: If a number is less than 1, or the environment renders no
            image.
        ImportError: For Atari, without `opencv-python-headless`.
    """

    def __init__(
        self,
        env,
        directory,
        every=10,
        episodes=1,
        max_images=3_000,
        width=320,
        seed=1_000,
        greedy=True,
        **kwargs,
    ):
        super().__init__()
        self.directory = str(directory)
        self.every = arguments.integer(every=every)
        self.episodes = arguments.integer(episodes=episodes)
        self.max_images = arguments.integer(max_images=max_images)
        self.width = arguments.integer(width=width)
        self.seed = arguments.integer(0, seed=seed)
        self.greedy = arguments.boolean(greedy=greedy)
        self._make = functools.partial(envs.make, env, **kwargs)
        with self._rendered() as environments:
            # It fails now, if it does, and not after hours.
            environments.reset(seed=self.seed)
            _image(environments)
        self._policy = None
        self._writer = None

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0:
            try:
                self.record()
            except OSError as error:  # A full disk, say.
                warnings.warn(
                    f"The episode could not be recorded: {error}. The training "
                    "goes on.",
                    stacklevel=2,
                )

    def record(self, agent=None):
        """Records now.

        Args:
            agent: An `Agent`. Defaults to the one that `fit` was called on.

        Returns:
            String, the path of the file.
        """
        agent = agent or self.model
        if self._policy is None or self._policy.agent is not agent:
            self._policy = Policy(agent, num_envs=1)
        frames, steps = [], itertools.count()

        def render():
            if next(steps) % thinned == 0:
                frames.append(self._shrink(_image(environments)))
            return len(frames) == self.max_images

        # Closed each time: a renderer that is closed later, when Python gets
        # round to it, may take that of other environments along (pygame's).
        with self._rendered() as environments:
            agent.check_spaces(environments)
            fps = environments.metadata.get("render_fps", 30)
            thinned = math.ceil(fps / MOST_FPS)
            self._policy.play(
                environments, self.episodes, self.seed, self.greedy, render
            )
        env_steps = int(agent.env_steps.numpy())
        image = _animate(frames, fps / thinned)
        os.makedirs(self.directory, exist_ok=True)
        path = os.path.join(self.directory, f"episode_{env_steps:09d}.gif")
        with open(path, "wb") as file:
            file.write(image)
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self.directory)
        with events.written(self._writer, env_steps):
            _write_image("episode", image, frames[0].size)
        return path

    def _rendered(self):
        try:
            return self._make(render_mode="rgb_array")
        except TypeError as error:
            if "render_mode" not in str(error):
                raise
            raise TypeError(
                '`RecordVideo` makes environments with `render_mode="rgb_array"'
                "`, which the function or the class must take, and `render` "
                f"obey. Received: {error}"
            ) from error

    def on_fit_exit(self):
        if self._writer is not None:
            events.close(self._writer)
            self._writer = None

    def _shrink(self, image):
        if image.width > self.width:
            height = round(image.height * self.width / image.width)
            image = image.resize((self.width, height))
        return image.quantize(64)


def _image(environments):
    """What the first of the environments looks like."""
    try:
        rendered = environments.render()
    except NotImplementedError:
        rendered = None
    try:
        return Image.fromarray(rendered[0])
    except (TypeError, AttributeError, IndexError) as error:
        raise ValueError(
            "`render` must return an array (height, width, 3) of uint8 where "
            'the environment was made with `render_mode="rgb_array"`. '
            f"Received: {_told(rendered)}"
        ) from error


def _told(rendered):
    """What was rendered, in a few words."""
    one = rendered[0] if rendered else rendered
    if hasattr(one, "dtype"):
        return f"an array of shape {one.shape} and dtype {one.dtype}"
    return repr(one)


def _animate(frames, fps):
    """A list of images as the bytes of one GIF."""
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=10 * round(100 / fps),  # It counts in hundredths of seconds.
        loop=0,
    )
    return buffer.getvalue()


def _write_image(name, image, size):
    """Writes encoded bytes: `tf.summary.image` would encode them as PNG."""
    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data={"plugin_name": "images"}
    )
    width, height = (str(number).encode() for number in size)
    tf.summary.write(
        name,
        tf.constant([width, height, image]),
        metadata=metadata,
    )
