using System.Runtime.InteropServices;
using System.Text;
using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Engine;

/// <summary>The few functions of <c>librknnrt.so</c> (rknn_api.h, RKNN runtime 2) that are needed, found at run time.</summary>
internal sealed unsafe class RknnApi
{
    public const int QueryInput = 1;
    public const int QueryOutput = 2;
    private const int QueryCount = 0;
    private const int Float32 = 0;
    private const int ChannelsLast = 1;

    private readonly delegate* unmanaged<ulong*, void*, uint, uint, void*, int> _init;
    private readonly delegate* unmanaged<ulong, int> _destroy;
    private readonly delegate* unmanaged<ulong, int, void*, uint, int> _query;
    private readonly delegate* unmanaged<ulong, uint, Input*, int> _setInputs;
    private readonly delegate* unmanaged<ulong, void*, int> _run;
    private readonly delegate* unmanaged<ulong, uint, Output*, void*, int> _getOutputs;
    private readonly delegate* unmanaged<ulong, uint, Output*, int> _releaseOutputs;
    private readonly delegate* unmanaged<ulong, int, int> _setCoreMask;

    private RknnApi(nint library)
    {
        _init = (delegate* unmanaged<ulong*, void*, uint, uint, void*, int>)NativeLibrary.GetExport(library, "rknn_init");
        _destroy = (delegate* unmanaged<ulong, int>)NativeLibrary.GetExport(library, "rknn_destroy");
        _query = (delegate* unmanaged<ulong, int, void*, uint, int>)NativeLibrary.GetExport(library, "rknn_query");
        _setInputs = (delegate* unmanaged<ulong, uint, Input*, int>)NativeLibrary.GetExport(library, "rknn_inputs_set");
        _run = (delegate* unmanaged<ulong, void*, int>)NativeLibrary.GetExport(library, "rknn_run");
        _getOutputs = (delegate* unmanaged<ulong, uint, Output*, void*, int>)NativeLibrary.GetExport(library, "rknn_outputs_get");
        _releaseOutputs = (delegate* unmanaged<ulong, uint, Output*, int>)NativeLibrary.GetExport(library, "rknn_outputs_release");
        _setCoreMask = (delegate* unmanaged<ulong, int, int>)NativeLibrary.GetExport(library, "rknn_set_core_mask");
    }

    /// <summary>The library of this node; null when there is none.</summary>
    public static RknnApi? TryOpen() =>
        NativeLibrary.TryLoad(Environment.GetEnvironmentVariable("YIZHAN_LIBRKNNRT") ?? "librknnrt.so", out var library) ? new RknnApi(library) : null;

    public ulong Init(byte[] model, int coreMask)
    {
        ulong context;
        fixed (byte* bytes = model)
        {
            Check(_init(&context, bytes, (uint)model.Length, 0, null), "rknn_init");
        }

        // A device with one core refuses the mask and runs on that one.
        _ = _setCoreMask(context, coreMask);
        return context;
    }

    public void Destroy(ulong context) => _ = _destroy(context);

    public (int Inputs, int Outputs) Count(ulong context)
    {
        var counts = stackalloc uint[2];
        Check(_query(context, QueryCount, counts, 2 * sizeof(uint)), "rknn_query");
        return ((int)counts[0], (int)counts[1]);
    }

    /// <summary>An input or output as the ONNX model had it: FP32, channels before rows.</summary>
    public TensorSpec Attribute(ulong context, int query, int index)
    {
        var attribute = new TensorAttribute { Index = (uint)index };
        Check(_query(context, query, &attribute, (uint)sizeof(TensorAttribute)), "rknn_query");
        var dims = new long[Math.Min(attribute.Dimensions, 16)];
        for (var i = 0; i < dims.Length; i++)
        {
            dims[i] = attribute.Dims[i];
        }

        if (attribute.Format == ChannelsLast && dims is [var n, var h, var w, var c])
        {
            dims = [n, c, h, w];
        }

        var name = new ReadOnlySpan<byte>(attribute.Name, 256);
        return new TensorSpec(Encoding.UTF8.GetString(name[..Math.Max(0, name.IndexOf((byte)0))]), TensorDatatype.Fp32, dims);
    }

    public IReadOnlyList<InferenceTensor> Run(ulong context, IReadOnlyList<InferenceTensor> inputs, IReadOnlyList<TensorSpec> specs)
    {
        var given = stackalloc Input[inputs.Count];
        var pins = inputs.Select(i => i.Data.Pin()).ToArray();
        try
        {
            for (var i = 0; i < inputs.Count; i++)
            {
                given[i] = new Input { Index = (uint)i, Buffer = pins[i].Pointer, Size = (uint)inputs[i].Data.Length, Type = Float32, Format = ChannelsLast };
            }

            Check(_setInputs(context, (uint)inputs.Count, given), "rknn_inputs_set");
            Check(_run(context, null), "rknn_run");
        }
        finally
        {
            foreach (var pin in pins)
            {
                pin.Dispose();
            }
        }

        var taken = stackalloc Output[specs.Count];
        for (var i = 0; i < specs.Count; i++)
        {
            taken[i] = new Output { WantFloat = 1, Index = (uint)i };
        }

        Check(_getOutputs(context, (uint)specs.Count, taken, null), "rknn_outputs_get");
        var results = new List<InferenceTensor>();
        for (var i = 0; i < specs.Count; i++)
        {
            results.Add(new InferenceTensor(specs[i].Name, TensorDatatype.Fp32, specs[i].Shape, new ReadOnlySpan<byte>(taken[i].Buffer, (int)taken[i].Size).ToArray()));
        }

        _ = _releaseOutputs(context, (uint)specs.Count, taken);
        return results;
    }

    private static void Check(int result, string function)
    {
        if (result != 0)
        {
            throw new ModelFailedException($"{function} answered {result}: {result switch
            {
                -1 => "failed",
                -2 => "timeout",
                -3 => "the device is not there",
                -4 => "no memory",
                -5 => "wrong parameter",
                -6 => "the model is not one",
                -7 => "the context is not one",
                -8 => "the input is not one",
                -9 => "the output is not one",
                -10 => "the driver is not the runtime's",
                -12 => "the model is for another version of the runtime",
                -13 => "the model is for another chip",
                _ => "unknown",
            }}.");
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct TensorAttribute
    {
        public uint Index;
        public uint Dimensions;
        public fixed uint Dims[16];
        public fixed byte Name[256];
        public uint Elements;
        public uint Size;
        public int Format;
        public int Type;
        public int Quantisation;
        public sbyte FractionalLength;
        public int ZeroPoint;
        public float Scale;
        public uint WidthStride;
        public uint SizeWithStride;
        public byte PassThrough;
        public uint HeightStride;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Input
    {
        public uint Index;
        public void* Buffer;
        public uint Size;
        public byte PassThrough;
        public int Type;
        public int Format;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Output
    {
        public byte WantFloat;
        public byte IsPreallocated;
        public uint Index;
        public void* Buffer;
        public uint Size;
    }
}
