"""Fields of config.json that do not change the logits."""

NOT_THE_LOGITS = frozenset(
    # origin of the checkpoint
    {"initializer_range", "transformers_version", "dtype", "torch_dtype", "name_or_path", "tokenizer_class"}
    | {"pretraining_tp", "finetuning_task", "task_specific_params", "unsloth_fixed", "unsloth_version"}
    # training only
    | {"attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "classifier_dropout"}
    | {"attention_probs_dropout_prob", "hidden_dropout_prob"}
    | {"gradient_checkpointing", "use_bfloat16", "tf_legacy_loss", "router_aux_loss_coef", "router_jitter_noise"}
    # how a forward pass is run, and what it returns
    | {"use_cache", "return_dict", "use_return_dict", "output_attentions", "output_hidden_states", "torchscript"}
    | {"attn_implementation", "chunk_size_feed_forward", "cache_implementation", "output_router_logits"}
    # special tokens, and heads for other tasks
    | {"bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "decoder_start_token_id"}
    | {"id2label", "label2id", "num_labels", "problem_type", "prefix"}
    # generation settings, which old versions saved in config.json
    | {"max_length", "max_new_tokens", "min_length", "min_new_tokens", "do_sample", "early_stopping", "num_beams"}
    | {"num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "min_p", "typical_p"}
    | {"epsilon_cutoff", "eta_cutoff", "repetition_penalty", "length_penalty", "no_repeat_ngram_size"}
    | {"encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores"}
    | {"return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values"}
    | {"exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens"}
    # fields of popular checkpoints that the reference does not read
    | {"is_llama_config", "transformers.js_config", "max_sequence_length", "is_decoder", "loss_type"}
    | {"use_flash_attn", "use_flash_attn_2", "neftune_noise_alpha", "sliding_window_size"}
    | {"summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels", "summary_first_dropout"}
)

NO_CHANGE_UNLESS_SET = frozenset(
    {"is_encoder_decoder", "add_cross_attention", "tie_encoder_decoder", "pruned_heads", "rope_interleaved"}
    | {"cross_attention_hidden_size", "use_sliding_window", "use_mrope"}
)
"""Fields whose empty value (false, 0, {}) says that the model is without them."""

_TRAINERS = (
    # names that trainers, trackers and merging tools give to their own fields
    *("unsloth", "axolotl", "llamafactory", "llama_factory", "trl", "deepspeed", "fsdp", "accelerate", "torchtune"),
    *("nanotron", "megatron", "nemo", "lightning", "mergekit", "autotrain", "swift", "xtuner", "openrlhf", "verl"),
    *("wandb", "mlflow", "neptune", "comet", "clearml", "sagemaker", "azureml"),
)


def is_harmless(name: str) -> bool:
    """Whether a field, whatever its value, does not change the logits.

    >>> is_harmless("use_cache"), is_harmless("unsloth_version"), is_harmless("logit_scale")
    (True, True, False)
    """
    return name in NOT_THE_LOGITS or name.startswith(("_", *(f"{trainer}_" for trainer in _TRAINERS)))
