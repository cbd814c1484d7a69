using System.CommandLine;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Yizhan.Dicom;
using Yizhan.DicomWeb;

namespace Yizhan.Cli;

/// <summary><c>yizhan dicom web</c>: this command as user of any DICOMweb server, a node's own (<c>…/pacs-gw/dicom-web/</c>) or another archive's.</summary>
internal static class DicomWebCommand
{
    private const int MaxFiles = 1_000_000;
    private const int HeaderBytes = 64 * 1024;

    private static readonly Argument<Uri> Url = new("url")
    {
        Description = "Address of the service, such as https://pacs.example/dicom-web/.",
        CustomParser = result =>
        {
            var address = NodeClient.Address(result);
            if (address is { UserInfo.Length: > 0 } || address is { Query.Length: > 0 })
            {
                result.AddError("The address of a service has neither a user nor a query; give a password with --basic FILE.");
                return null;
            }

            return address is null || address.AbsolutePath.EndsWith('/') ? address : new Uri(address.AbsoluteUri + "/");
        },
    };

    private static readonly Option<FileInfo?> Basic = new("--basic") { Description = "File with USER:PASSWORD, sent by HTTP basic authentication instead of a token." };
    private static readonly Option<bool> Json = new("--json") { Description = "Print one JSON object last." };

    private static readonly Option<int> TimeoutSeconds = new("--timeout")
    {
        Description = "Seconds until a server has begun to answer one request, at most.",
        DefaultValueFactory = _ => 600,
    };

    public static Command Create() => new("web", """
        DICOMweb servers, used from here: search (QIDO-RS), retrieve (WADO-RS), store (STOW-RS).

        Examples:
          yizhan dicom web query https://pacs.example/dicom-web/ -k PatientID=4711
          yizhan dicom web retrieve https://pacs.example/dicom-web/ --study 1.2.3 --to study
          yizhan dicom web store http://127.0.0.1:8081/pacs-gw/dicom-web/ study
        """)
    {
        Query(), Retrieve(), Store(),
    };

    private static Command Query()
    {
        var level = new Option<string>("--level") { Description = "studies, series or instances.", DefaultValueFactory = _ => "studies" };
        level.AcceptOnlyFromAmong("studies", "series", "instances");
        var limit = new Option<int>("--limit") { Description = "Answers at most.", DefaultValueFactory = _ => 1000 };
        var offset = new Option<int>("--offset") { Description = "Answers to pass over." };
        var fuzzy = new Option<bool>("--fuzzy") { Description = "Names by their sound, if the server can." };
        var command = new Command("query", """
            QIDO-RS: searches for studies, series or instances.

            Examples:
              yizhan dicom web query https://pacs.example/dicom-web/ -k StudyDate=20261101- -k PatientName='王*'
              yizhan dicom web query http://127.0.0.1:8042/dicom-web/ --level series -k StudyInstanceUID=1.2.3
              yizhan dicom web query http://127.0.0.1:8042/dicom-web/ --json | tail -n 1 | jq -r '.answers[]["0020000D"].Value[0]'
            """) { Url, DicomCommand.Key, level, limit, offset, fuzzy, Basic, TimeoutSeconds, Json };
        command.SetAction((parsed, cancellationToken) => RunAsync(parsed, async client =>
        {
            var keys = DicomCommand.Keys(parsed);
            var wanted = parsed.GetValue(level) switch { "series" => DicomCommand.SeriesKeys, "instances" => DicomCommand.ImageKeys, _ => DicomCommand.StudyKeys };
            var parameters = keys.Where(k => k.Value.Length > 0)
                .Concat(wanted.Union(keys.Where(k => k.Value.Length == 0).Select(k => k.Key)).Select(k => KeyValuePair.Create("includefield", k)))
                .Append(KeyValuePair.Create("limit", parsed.GetValue(limit).ToString(CultureInfo.InvariantCulture)));
            if (parsed.GetValue(offset) is > 0 and var passed)
            {
                parameters = parameters.Append(KeyValuePair.Create("offset", passed.ToString(CultureInfo.InvariantCulture)));
            }

            if (parsed.GetValue(fuzzy))
            {
                parameters = parameters.Append(KeyValuePair.Create("fuzzymatching", "true"));
            }

            var answers = await client.SearchAsync(parsed.GetValue(level)!, parameters, cancellationToken);
            DicomCommand.PrintAnswers(parsed.GetValue(Json), answers, [.. wanted.Union(keys.Keys, StringComparer.Ordinal)]);
            return 0;
        }));
        return command;
    }

    private static Command Retrieve()
    {
        var study = new Option<string>("--study") { Description = "Study Instance UID.", Required = true };
        var series = new Option<string?>("--series") { Description = "Only this series." };
        var instance = new Option<string?>("--instance") { Description = "Only this instance; needs --series." };
        var syntax = new Option<string>("--transfer-syntax") { Description = "Transfer syntax UID; * for whatever each instance is stored in.", DefaultValueFactory = _ => "*" };
        var to = new Option<DirectoryInfo>("--to") { Description = "Folder for the files; each is named after its instance.", Required = true };
        var most = new Option<int>("--max-gib") { Description = "GiB at most.", DefaultValueFactory = _ => 100 };
        var command = new Command("retrieve", """
            WADO-RS: fetches the instances of a study, a series, or one, into files.

            Examples:
              yizhan dicom web retrieve https://pacs.example/dicom-web/ --study 1.2.3 --to study
              yizhan dicom web retrieve http://127.0.0.1:8042/dicom-web/ --study 1.2.3 --series 1.2.3.1 --transfer-syntax 1.2.840.10008.1.2.1 --to series --json
            """) { Url, study, series, instance, syntax, to, most, Basic, TimeoutSeconds, Json };
        command.SetAction((parsed, cancellationToken) => RunAsync(parsed, async client =>
        {
            if (parsed.GetValue(instance) is not null && parsed.GetValue(series) is null)
            {
                throw new FormatException("--instance needs the --series that it is of.");
            }

            var resource = "studies/" + Uid("--study", parsed.GetValue(study)!)
                + (parsed.GetValue(series) is { } s ? "/series/" + Uid("--series", s) : "")
                + (parsed.GetValue(instance) is { } i ? "/instances/" + Uid("--instance", i) : "");
            var requested = parsed.GetValue(syntax)!;
            var folder = parsed.GetValue(to)!;
            folder.Create();
            var (count, bytes) = (0, 0L);
            await foreach (var part in client.RetrieveAsync(
                resource, requested == "*" ? requested : Uid("--transfer-syntax", requested), parsed.GetValue(most) * 1024L * 1024 * 1024, cancellationToken))
            {
                if (++count > MaxFiles)
                {
                    throw new DicomWebException(null, $"The answer has more than {MaxFiles} instances.");
                }

                bytes += await SaveAsync(part, folder, cancellationToken);
            }

            Print(parsed, new JsonObject { ["instances"] = count, ["bytes"] = bytes, ["folder"] = folder.FullName }, $"{count} instances, {bytes} bytes, are in {folder}.");
            return 0;
        }));
        return command;
    }

    private static Command Store()
    {
        var paths = new Argument<FileSystemInfo[]>("path") { Description = "Files, or folders of files (with those below).", Arity = ArgumentArity.OneOrMore };
        var study = new Option<string?>("--study") { Description = "Every instance has to be of this study." };
        var batch = new Option<int>("--batch") { Description = "Files in one request at most.", DefaultValueFactory = _ => 100 };
        batch.Validators.Add(r =>
        {
            if (r.GetValueOrDefault<int>() is < 1 or > 10_000)
            {
                r.AddError("--batch is 1 to 10000.");
            }
        });
        var command = new Command("store", """
            STOW-RS: sends files. The server says of each whether it has it; 1 is the exit code when one is not taken.

            Examples:
              yizhan dicom web store https://pacs.example/dicom-web/ study
              yizhan dicom web store http://127.0.0.1:8042/dicom-web/ a.dcm b.dcm --study 1.2.3 --json
            """) { Url, paths, study, batch, Basic, TimeoutSeconds, Json };
        command.SetAction((parsed, cancellationToken) => RunAsync(parsed, async client =>
        {
            var files = Files(parsed.GetValue(paths)!);
            var only = parsed.GetValue(study) is { } uid ? Uid("--study", uid) : null;
            var (stored, failed) = (0, new List<StowFailure>());
            foreach (var some in files.Chunk(parsed.GetValue(batch)))
            {
                var answer = await client.StoreAsync(only, some.Select(path => (Func<Stream>)(() => File.OpenRead(path))), cancellationToken);
                stored += answer.Stored.Count;
                failed.AddRange(answer.Failed);
            }

            Print(parsed, new JsonObject
            {
                ["files"] = files.Count,
                ["stored"] = stored,
                ["failed"] = new JsonArray([.. failed.Select(f => (JsonNode)new JsonObject { ["sopInstanceUid"] = f.SopInstanceUid, ["reason"] = f.Reason })]),
            }, string.Join('\n', [$"{stored} of {files.Count} files are stored.", .. failed.Select(f => $"not stored: {f.SopInstanceUid}, reason {(f.Reason is { } r ? $"0x{r:X4}" : "not given")}")]));
            return stored == files.Count ? 0 : 1;
        }));
        return command;
    }

    /// <summary>Runs against the server: wrong use is bad input; it failed when the server does not answer, or refuses.</summary>
    private static async Task<int> RunAsync(ParseResult parsed, Func<DicomWebClient, Task<int>> run)
    {
        var url = parsed.GetValue(Url)!;
        try
        {
            using var http = Tokens.ClientOfAny(url);
            http.Timeout = TimeSpan.FromSeconds(Math.Max(1, parsed.GetValue(TimeoutSeconds)));
            if (parsed.GetValue(Basic) is { } file)
            {
                var secret = (await File.ReadAllTextAsync(file.FullName)).Trim();
                http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(secret)));
            }

            return await run(new DicomWebClient(http));
        }
        catch (FormatException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return CommandLine.WrongUse;
        }
        catch (DicomWebException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {url}: {e.Message}");
            return 1;
        }
        catch (Exception e) when (e is HttpRequestException or IOException or UnauthorizedAccessException or TaskCanceledException { InnerException: TimeoutException })
        {
            await Console.Error.WriteLineAsync($"yizhan: {url}: {e.Message}");
            return CommandLine.Failed;
        }
    }

    /// <summary>Writes a part beside where it will be, and gives it its name when it is whole.</summary>
    private static async Task<long> SaveAsync(DicomWebPart part, DirectoryInfo folder, CancellationToken cancellationToken)
    {
        var path = Path.Combine(folder.FullName, $".{Path.GetRandomFileName()}.part");
        try
        {
            string uid;
            long length;
            await using (var file = new FileStream(path, FileMode.CreateNew, FileAccess.ReadWrite))
            {
                length = await part.CopyToAsync(file, cancellationToken);
                var start = new byte[Math.Min(length, HeaderBytes)];
                file.Position = 0;
                await file.ReadExactlyAsync(start, cancellationToken);
                uid = DicomFileHeader.Read(start).Meta.GetString(DicomTags.MediaStorageSOPInstanceUID) ?? "";
            }

            File.Move(path, Path.Combine(folder.FullName, Uid("Media Storage SOP Instance UID", uid) + ".dcm"), overwrite: true);
            return length;
        }
        catch (Exception e) when (e is DicomFormatException or FormatException)
        {
            throw new DicomWebException(null, $"A part of the answer is no DICOM file: {e.Message}");
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static List<string> Files(IEnumerable<FileSystemInfo> paths)
    {
        var files = new List<string>();
        foreach (var path in paths)
        {
            if (Directory.Exists(path.FullName))
            {
                files.AddRange(Directory.EnumerateFiles(path.FullName, "*", SearchOption.AllDirectories).Take(MaxFiles + 1).Order(StringComparer.Ordinal));
            }
            else if (File.Exists(path.FullName))
            {
                files.Add(path.FullName);
            }
            else
            {
                throw new FileNotFoundException($"There is no file or folder '{path}'.");
            }
        }

        return files.Count is > 0 and <= MaxFiles
            ? files
            : throw new FormatException(files.Count == 0 ? "There is no file in the folders." : $"There are more than {MaxFiles} files; send them in parts.");
    }

    /// <summary>A UID becomes part of a path here and there: nothing else gets in.</summary>
    private static string Uid(string what, string text) =>
        text.Length is > 0 and <= 64 && text.All(c => char.IsAsciiDigit(c) || c == '.') && text[0] != '.'
            ? text
            : throw new FormatException($"{what} '{text}' is no UID; accepted are digits and dots, at most 64, such as 1.2.840.113619.");

    private static void Print(ParseResult parsed, JsonObject value, string text) => Console.WriteLine(parsed.GetValue(Json) ? value.ToJsonString() : text);
}
