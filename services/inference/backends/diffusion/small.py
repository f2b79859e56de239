"""The small model before it has learnt anything, in the layout of `diffusers`.

A tokenizer that knows the words of the drawings, a small encoder for them, a UNet on 16 × 16 latents, and an
autoencoder that makes 128 × 128 pixels of them.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from services.inference.backends.diffusion.drawing import SIZE, WORDS, Pixels, picture

LUMINANCE = (0.3, 0.59, 0.11)
WORDS_AT_MOST = 16  # tokens, with the two that every prompt begins and ends with
WIDTH = 64  # of a word's vector
LATENTS = 4  # channels
DECODED = 24  # channels of the decoder, at every size
SPREAD = 0.5  # deviation of a latent as the decoder gets it, which squeezes what is beyond 3
START, END = "<|startoftext|>", "<|endoftext|>"


def tokenizer() -> CLIPTokenizer:
    """Byte pairs joined until every word of the drawings is one token; any other word falls into letters."""
    letters = [chr(code) for code in range(33, 127)]
    split = {word: (*word[:-1], word[-1] + "</w>") for word in WORDS}
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for parts in split.values() for pair in pairwise(parts)):
        merges.append(max(pairs, key=lambda pair: (pairs[pair], pair)))
        split = {word: _joined(parts, merges[-1]) for word, parts in split.items()}
    known = [*letters, *(f"{letter}</w>" for letter in letters), *dict.fromkeys("".join(pair) for pair in merges)]
    vocabulary = {token: place for place, token in enumerate([*known, START, END])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=WORDS_AT_MOST)


def untrained() -> StableDiffusionPipeline:
    words = tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=WORDS_AT_MOST,
        projection_dim=WIDTH,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
    )
    vae = AutoencoderTiny(
        encoder_block_out_channels=(LATENTS,) * 4,
        decoder_block_out_channels=(DECODED,) * 4,
        num_encoder_blocks=(0, 0, 0, 0),
        num_decoder_blocks=(3, 3, 2, 0),
        latent_channels=LATENTS,
        scaling_factor=1 / SPREAD,
    )
    with torch.no_grad():
        begin(vae, pictures([picture(place) for place in range(128)]))
    unet = UNet2DConditionModel(
        sample_size=SIZE // 8,
        in_channels=LATENTS,
        out_channels=LATENTS,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=4,
        cross_attention_dim=WIDTH,
        # The words taken together go where the step goes, into every block: far quicker learnt than attention alone.
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        steps_offset=1,
        clip_sample=False,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=words,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def begin(vae: AutoencoderTiny, some: Tensor) -> None:
    """Colours need no learning: from the start the encoder gives, and the decoder draws, squares of 8 × 8 pixels.

    A latent is the mean luminance of its square, two differences of colour, and how much lighter its right half is. The
    encoder is nothing but that, and stays so; the decoder learns everything else, which is where edges run. `some`
    pictures say how far each latent strays.
    """
    enter, *halve, leave = vae.encoder.layers
    for layer in (enter, *halve, leave):
        nn.init.zeros_(layer.weight)
    nn.init.dirac_(enter.weight)
    nn.init.zeros_(enter.bias)
    for layer in halve:
        for channel in range(3):
            layer.weight[channel, channel, 1:, 1:] = 1 / 4
    halve[-1].weight[3, :3, 1:, 2] = torch.tensor(LUMINANCE)[:, None] / 2
    meaning = torch.zeros(LATENTS, LATENTS)
    meaning[0, :3] = meaning[3, :3] = torch.tensor(LUMINANCE)
    meaning[1], meaning[2] = -meaning[0], -meaning[0]
    meaning[1, 0] += 1
    meaning[2, 2] += 1
    meaning[3] *= -1
    meaning[3, 3] = 1
    leave.weight[:, :, 1, 1] = meaning
    nn.init.zeros_(leave.bias)
    deviation, mean = torch.std_mean(vae.encode(some).latents, dim=(0, 2, 3))
    leave.weight.mul_((SPREAD / deviation)[:, None, None, None])
    leave.bias.copy_(-SPREAD * mean / deviation)
    back = torch.linalg.inv(meaning)[:3]
    first, last = vae.decoder.layers[0], vae.decoder.layers[-1]
    first.weight[:3] = 0
    first.weight[:3, :, 1, 1] = back * deviation / SPREAD
    first.bias[:3] = back @ mean
    for layer in vae.decoder.layers:
        if isinstance(layer, nn.Conv2d) and layer not in (first, last):
            layer.weight[:3] = 0
            for channel in range(3):
                layer.weight[channel, channel, 1, 1] = 1
        elif isinstance(layer, AutoencoderTinyBlock):
            nn.init.zeros_(layer.conv[-1].weight)
            nn.init.zeros_(layer.conv[-1].bias)
    nn.init.dirac_(last.weight)
    last.weight[:, 3:] = 0
    nn.init.zeros_(last.bias)
    vae.encoder.requires_grad_(requires_grad=False)


def pictures(drawn: Sequence[Pixels]) -> Tensor:
    """(n, 3, height, width), from -1 to 1."""
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _joined(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    found: list[str] = []
    for part in parts:
        if found and (found[-1], part) == pair:
            found[-1] += part
        else:
            found.append(part)
    return tuple(found)
