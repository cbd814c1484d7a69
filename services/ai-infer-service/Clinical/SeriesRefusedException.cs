namespace Yizhan.AiInfer.Clinical;

/// <summary>A series is not what the model was made for, or not whole; the message is the reason and goes into the result. Nothing is guessed.</summary>
internal sealed class SeriesRefusedException(string message) : Exception(message);
