"""What one training step does: the loss, the optimiser and its step size."""

import keras

from train.recipe import Recipe


def compile_model(model: keras.Model, recipe: Recipe, n_steps: int) -> None:
    """Make a model ready to train by a recipe for n_steps steps in all."""
    averaging = {"use_ema": True, "ema_momentum": recipe.averaging} if recipe.averaging else {}
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate(recipe, n_steps), **averaging),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
        jit_compile=keras.backend.backend() == "jax",  # of TensorFlow, XLA takes five times as long on the CPU
    )
    model.optimizer.build(model.trainable_variables)


def learning_rate(recipe: Recipe, n_steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The step size: one number, or a rise over the warm-up and a cosine down to 0 at the last step."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    warmup = min(max(1, round(recipe.warmup * n_steps)), n_steps - 1)
    if not recipe.warmup or not warmup:
        return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, max(1, n_steps))
    return keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / (warmup + 1),
        n_steps - warmup,
        warmup_target=recipe.learning_rate,
        warmup_steps=warmup,
    )
