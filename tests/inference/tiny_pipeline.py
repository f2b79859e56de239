"""Writes small pipelines of random weights (1 M parameters, 5 MB each): `python tiny_pipeline.py FOLDER`; see tiny.py.

Real classes, real files, real code path; only the pictures mean nothing. A process of its own, so that the tests'
process never imports torch.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = [chr(code) for code in range(33, 127)]
VOCABULARY = {token: place for place, token in enumerate([*LETTERS, *(f"{c}</w>" for c in LETTERS), START, END])}
TEXT = CLIPTextConfig(
    vocab_size=len(VOCABULARY),
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
    projection_dim=32,
    bos_token_id=VOCABULARY[START],
    eos_token_id=VOCABULARY[END],
)


def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer(vocab=VOCABULARY, merges=[], model_max_length=77)


def decoder(channels: tuple[int, ...] = (16, 16, 32, 32), **config: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=8,
        **config,
    )


def denoiser(**config: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        **config,
    )


def build(seed: int = 0) -> StableDiffusionPipeline:
    torch.manual_seed(seed)
    text_encoder = CLIPTextModel(TEXT)
    unet = denoiser(cross_attention_dim=32)
    return StableDiffusionPipeline(
        vae=decoder(),
        text_encoder=text_encoder,
        tokenizer=tokenizer(),
        unet=unet,
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_wide(seed: int = 0) -> StableDiffusionPipeline:
    """Its steps need more memory than its pictures, which is so with large models."""
    torch.manual_seed(seed)
    pipe = build()
    pipe.register_modules(
        vae=decoder((8, 8, 8, 8)),
        unet=UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(64,),
            down_block_types=("DownBlock2D",),
            mid_block_type=None,
            up_block_types=("UpBlock2D",),
            cross_attention_dim=32,
        ),
    )
    return pipe


def build_sdxl(seed: int = 0) -> StableDiffusionXLPipeline:
    """Two encoders, whose texts lie side by side, and conditions beside the text: a size, a crop, a pooled text."""
    torch.manual_seed(seed)
    unet = denoiser(
        cross_attention_dim=64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 32,
    )
    return StableDiffusionXLPipeline(
        vae=decoder(force_upcast=False),
        text_encoder=CLIPTextModel(TEXT),
        text_encoder_2=CLIPTextModelWithProjection(TEXT),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet,
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1),
    )


def build_sd3(seed: int = 0) -> StableDiffusion3Pipeline:
    """A flow-matching transformer; its third encoder is the one that may be left out."""
    torch.manual_seed(seed)
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=1,
        in_channels=16,
        out_channels=16,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=64,
        caption_projection_dim=32,
        pooled_projection_dim=64,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=decoder(latent_channels=16, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=CLIPTextModelWithProjection(TEXT),
        tokenizer=tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(TEXT),
        tokenizer_2=tokenizer(),
        text_encoder_3=None,
        tokenizer_3=None,
    )


BUILT = {"sd": build, "wide": build_wide, "sdxl": build_sdxl, "sd3": build_sd3}


def main(folder: Path) -> None:
    for kind, built in BUILT.items():
        built().save_pretrained(folder / kind, safe_serialization=True)
    # What is left out is not written, and reading wants to be told that it was.
    index = folder / "sd3" / "model_index.json"
    left_out = {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    index.write_text(json.dumps(json.loads(index.read_bytes()) | left_out))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
