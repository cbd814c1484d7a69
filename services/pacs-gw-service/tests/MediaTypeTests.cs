using Yizhan.PacsGw.DicomWeb;

namespace Yizhan.PacsGw.Tests;

public sealed class MediaTypeTests
{
    [Theory]
    [InlineData("multipart/related; type=application/dicom; boundary=b", "multipart/related", "application/dicom", "b")]
    [InlineData("multipart/related; type=\"application/dicom\"; boundary=\"a;b,c\"", "multipart/related", "application/dicom", "a;b,c")]
    [InlineData("Multipart/Related;TYPE=application/dicom", "multipart/related", "application/dicom", null)]
    public void Values_are_read_with_and_without_quotes(string text, string type, string? part, string? boundary)
    {
        var media = MediaType.Parse(text)!;
        Assert.Equal((type, part, boundary), (media.Type, media["type"], media["boundary"]));
    }

    [Theory]
    [InlineData("")]
    [InlineData("text")]
    [InlineData("/")]
    [InlineData("a/b/c")]
    [InlineData("\"a/b\"")]
    public void What_is_none_is_none(string text) => Assert.Null(MediaType.Parse(text));

    [Theory]
    // What is stored is preferred among equals, and what is liked more among others; q=0 is no.
    [InlineData("1.2.840.10008.1.2.4.80", "application/dicom", "1.2.840.10008.1.2.1")]
    [InlineData("1.2.840.10008.1.2.4.80", "application/dicom; transfer-syntax=*", "1.2.840.10008.1.2.4.80")]
    [InlineData("1.2.840.10008.1.2.4.80", "application/dicom; transfer-syntax=1.2.840.10008.1.2.5, application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.80")]
    [InlineData("1.2.840.10008.1.2.4.80", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80; q=0.5, application/dicom; transfer-syntax=1.2.840.10008.1.2.5", "1.2.840.10008.1.2.5")]
    [InlineData("1.2.840.10008.1.2.4.80", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50, application/dicom; q=0.1", "1.2.840.10008.1.2.1")]
    [InlineData("1.2.840.10008.1.2.4.80", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50", null)]
    [InlineData("1.2.840.10008.1.2.4.102", "application/dicom", "1.2.840.10008.1.2.4.102")]
    [InlineData("1.2.840.10008.1.2.4.102", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1", null)]
    public void A_transfer_syntax_is_chosen_as_the_standard_says(string stored, string accept, string? expected)
    {
        var context = new Microsoft.AspNetCore.Http.DefaultHttpContext();
        context.Request.Headers.Accept = accept;
        Assert.Equal(expected, AcceptedMedia.TransferSyntaxOf(AcceptedMedia.Of(context.Request), stored));
    }
}
