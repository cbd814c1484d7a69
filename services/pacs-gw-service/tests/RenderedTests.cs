using System.Net;
using SkiaSharp;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Tests;

[Trait("Clause", "S2")]
public sealed class RenderedTests(SharedGateway shared) : IClassFixture<SharedGateway>
{
    private static int _studies;

    /// <summary>Two by one pixels of 16 bits: values 100 and 200, unless the test says otherwise.</summary>
    private static TestInstance Image(Action<DicomDataset>? change = null) => new($"1.2.3.{Interlocked.Increment(ref _studies)}", "1.2.3.4", $"1.2.{_studies}.1")
    {
        Change = d =>
        {
            d.Set(DicomTags.Rows, 1).Set(DicomTags.BitsStored, 16).Set(DicomTags.HighBit, 15).Set(DicomTags.PixelRepresentation, 0L)
                .Set(DicomTags.PhotometricInterpretation, "MONOCHROME2")
                .SetBytes(DicomTags.PixelData, new byte[] { 100, 0, 200, 0 }, DicomVr.OW);
            change?.Invoke(d);
        },
    };

    private static string PathOf(TestInstance instance) => $"studies/{instance.Study}/series/{instance.Series}/instances/{instance.Sop}";

    private async Task<SKBitmap> RenderAsync(TestInstance instance, string path = "/rendered")
    {
        var gateway = shared.Gateway;
        Assert.Equal((ushort?)0, await gateway.SendAsync(instance));
        await gateway.IndexedAsync();
        using var response = await gateway.GetAsync(PathOf(instance) + path, "image/png");
        var body = await response.Content.ReadAsByteArrayAsync(Gateway.Cancel);
        Assert.True(response.StatusCode == HttpStatusCode.OK, System.Text.Encoding.UTF8.GetString(body));
        return SKBitmap.Decode(body);
    }

    /// <summary>The greys of the two pixels.</summary>
    private async Task ShowsAsync(int left, int right, Action<DicomDataset>? change = null, string query = "")
    {
        using var picture = await RenderAsync(Image(change), "/rendered" + query);
        Assert.Equal((left, right), (picture.Pixels[0].Red, picture.Pixels[1].Red));
    }

    private static DicomDataset Lut(long[] descriptor, params ushort[] values) => new DicomDataset()
        .Set(DicomTags.LUTDescriptor, DicomVr.US, descriptor)
        .SetBytes(DicomTags.LUTData, values.SelectMany(BitConverter.GetBytes).ToArray(), DicomVr.OW);

    [Fact]
    public async Task Without_a_window_the_range_of_the_frame_is_shown() => await ShowsAsync(0, 255);

    [Fact]
    public async Task The_windows_of_data_set_and_request_are_those_of_the_standard()
    {
        // PS3.3 §C.11.2.1.2.1: ((100 - (150 - 0.5)) / (201 - 1) + 0.5) * 255
        await ShowsAsync(64, 191, d => d.Set(DicomTags.WindowCenter, 150.5).Set(DicomTags.WindowWidth, 201.0));
        await ShowsAsync(0, 255, d => d.Set(DicomTags.WindowCenter, 150.5).Set(DicomTags.WindowWidth, 201.0), "?window=150,10");
        await ShowsAsync(64, 191, null, "?window=150,200,linear-exact");
        await ShowsAsync(69, 186, null, "?window=150,200,sigmoid");
    }

    [Fact]
    public async Task Rescale_and_modality_table_come_before_the_window()
    {
        await ShowsAsync(
            0, 255, d => d.Set(DicomTags.RescaleSlope, 2.0).Set(DicomTags.RescaleIntercept, -1000.0), "?window=-700,200,linear-exact");
        await ShowsAsync(
            255, 0, d => d.Set(new DicomTag(0x0028, 0x3000), Lut([2, 150, 16], 900, 300)), "?window=600,600,linear-exact");
    }

    [Fact]
    public async Task Monochrome1_and_an_inverse_presentation_are_light_where_values_are_low()
    {
        await ShowsAsync(255, 0, d => d.Set(DicomTags.PhotometricInterpretation, "MONOCHROME1"));
        await ShowsAsync(255, 0, d => d.Set(new DicomTag(0x2050, 0x0020), "INVERSE"));
    }

    [Fact]
    public async Task A_table_of_values_of_interest_is_used_when_there_is_no_window() =>
        await ShowsAsync(51, 204, d => d.Set(new DicomTag(0x0028, 0x3010), Lut([2, 150, 8], 51, 204)));

    [Fact]
    public async Task Signed_values_and_unused_bits_are_read_as_the_header_says()
    {
        // -1 in 12 bits with something above them, and 1.
        await ShowsAsync(0, 255, d => d
            .Set(DicomTags.BitsStored, 12).Set(DicomTags.HighBit, 11).Set(DicomTags.PixelRepresentation, 1)
            .SetBytes(DicomTags.PixelData, new byte[] { 0xFF, 0x7F, 1, 0x30 }, DicomVr.OW), "?window=0,2,linear-exact");
    }

    [Fact]
    public async Task A_palette_and_YBR_become_colours()
    {
        using var palette = await RenderAsync(Image(d =>
        {
            d.Set(DicomTags.PhotometricInterpretation, "PALETTE COLOR").Set(DicomTags.BitsAllocated, 8).Set(DicomTags.BitsStored, 8).Set(DicomTags.HighBit, 7)
                .SetBytes(DicomTags.PixelData, new byte[] { 0, 1 }, DicomVr.OB);
            ushort[][] colours = [[0xFF00, 0x1000], [0x8000, 0x2000], [0x0000, 0x3000]];
            for (ushort i = 0; i < 3; i++)
            {
                d.Set(new DicomTag(0x0028, (ushort)(0x1101 + i)), DicomVr.US, 2L, 0L, 16L)
                    .SetBytes(new DicomTag(0x0028, (ushort)(0x1201 + i)), colours[i].SelectMany(BitConverter.GetBytes).ToArray(), DicomVr.OW);
            }
        }));
        Assert.Equal([new SKColor(0xFF, 0x80, 0x00), new SKColor(0x10, 0x20, 0x30)], palette.Pixels);
        using var ybr = await RenderAsync(Image(d => d
            .Set(DicomTags.PhotometricInterpretation, "YBR_FULL").Set(DicomTags.SamplesPerPixel, 3).Set(DicomTags.PlanarConfiguration, 0L)
            .Set(DicomTags.BitsAllocated, 8).Set(DicomTags.BitsStored, 8).Set(DicomTags.HighBit, 7)
            .SetBytes(DicomTags.PixelData, new byte[] { 76, 85, 255, 255, 128, 128 }, DicomVr.OB)));
        Assert.Equal([new SKColor(254, 0, 0), new SKColor(255, 255, 255)], ybr.Pixels);
    }

    [Fact]
    public async Task A_viewport_scales_within_its_sides_and_shows_its_region()
    {
        using var scaled = await RenderAsync(Image(), "/rendered?viewport=100,20");
        Assert.Equal((40, 20), (scaled.Width, scaled.Height));
        using var region = await RenderAsync(Image(), "/rendered?viewport=8,8,1,0,1,1");
        Assert.Equal((8, 8), (region.Width, region.Height));
        Assert.All(region.Pixels, p => Assert.Equal(255, p.Red));
        using var thumbnail = await RenderAsync(Image(), "/thumbnail");
        Assert.Equal((128, 64), (thumbnail.Width, thumbnail.Height));
    }

    [Theory]
    [InlineData("/rendered", "image/gif", HttpStatusCode.NotAcceptable)]
    [InlineData("/rendered", "image/jpeg;q=0.5, image/png", HttpStatusCode.OK)]
    [InlineData("/rendered?window=1", null, HttpStatusCode.BadRequest)]
    [InlineData("/rendered?window=1,0", null, HttpStatusCode.BadRequest)]
    [InlineData("/rendered?viewport=0,5", null, HttpStatusCode.BadRequest)]
    [InlineData("/rendered?viewport=100000,100000", null, HttpStatusCode.BadRequest)]
    [InlineData("/rendered?viewport=5,5,9,9,1,1", null, HttpStatusCode.NotAcceptable)]
    [InlineData("/rendered?quality=101", null, HttpStatusCode.BadRequest)]
    [InlineData("/rendered?quality=1", null, HttpStatusCode.OK)]
    [InlineData("/rendered?annotation=patient", null, HttpStatusCode.BadRequest)]
    [InlineData("/frames/2/rendered", null, HttpStatusCode.NotFound)]
    [InlineData("/frames/1/rendered", null, HttpStatusCode.OK)]
    public async Task A_request_for_a_picture_gets_the_standards_status(string path, string? accept, HttpStatusCode expected)
    {
        var (gateway, image) = (shared.Gateway, Image());
        await gateway.SendAsync(image);
        await gateway.IndexedAsync();
        using var response = await gateway.GetAsync(PathOf(image) + path, accept);
        Assert.Equal(expected, response.StatusCode);
        if (accept?.Contains("png", StringComparison.Ordinal) == true)
        {
            Assert.Equal("image/png", response.Content.Headers.ContentType?.MediaType);
        }
    }

    [Fact]
    public async Task A_study_is_rendered_as_parts_without_what_has_no_image()
    {
        var (gateway, image) = (shared.Gateway, Image());
        var report = image with { Sop = image.Sop + ".2", Change = d => d.Remove(DicomTags.PixelData) };
        await gateway.SendAsync([image.ToSend(), report.ToSend(), (image with { Sop = image.Sop + ".3" }).ToSend()]);
        await gateway.IndexedAsync();
        using var response = await gateway.GetAsync($"studies/{image.Study}/rendered", "multipart/related; type=\"image/jpeg\"");
        var parts = await Gateway.PartsAsync(response);
        Assert.Equal(2, parts.Count);
        Assert.All(parts, p => Assert.Equal([0xFF, 0xD8, 0xFF], p.Body[..3]));
        using var none = await gateway.GetAsync(PathOf(report) + "/rendered");
        Assert.Equal(HttpStatusCode.NotAcceptable, none.StatusCode);
    }
}
