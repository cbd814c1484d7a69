namespace Yizhan.OpenInference;

/// <summary>The datatypes of the protocol (Tensor Data Types), and BF16, which Triton adds.</summary>
public static class TensorDatatype
{
#pragma warning disable CS1591, CA1720 // The names are the protocol's own.
    public const string Bool = "BOOL", UInt8 = "UINT8", UInt16 = "UINT16", UInt32 = "UINT32", UInt64 = "UINT64", Int8 = "INT8", Int16 = "INT16",
        Int32 = "INT32", Int64 = "INT64", Fp16 = "FP16", Bf16 = "BF16", Fp32 = "FP32", Fp64 = "FP64", Bytes = "BYTES";
#pragma warning restore CS1591, CA1720

    /// <summary>All of them, for messages.</summary>
    public const string All = "BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32, FP64, BYTES";

    /// <summary>Bytes of an element; 0 for <see cref="Bytes"/>, whose elements have lengths of their own; -1 for what is no datatype.</summary>
    public static int SizeOf(string datatype) => datatype switch
    {
        Bool or UInt8 or Int8 => 1,
        UInt16 or Int16 or Fp16 or Bf16 => 2,
        UInt32 or Int32 or Fp32 => 4,
        UInt64 or Int64 or Fp64 => 8,
        Bytes => 0,
        _ => -1,
    };
}
